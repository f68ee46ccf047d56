package config

import (
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/internal/command"
)

// What is said of this machine. The daemon, which is on it, refuses what cannot work; validate warns of it, since the files may be
// for another machine, and with Options.Here they are not.

// heref warns of what this machine lacks.
func (fs *findings) heref(at hcl.Range, detail, format string, args ...any) {
	fs.warnf(at, detail, format, args...)
	(*fs)[len(*fs)-1].Here = true
}

// warnHere warns of what this machine lacks, which the daemon need not say of its own.
func (l *loader) warnHere(at hcl.Range, detail, format string, args ...any) {
	if l.onThisHost {
		l.found.warnf(at, detail, format, args...)
		return
	}
	l.found.heref(at, detail, format, args...)
}

// amiss reports what this machine lacks and the daemon cannot do without.
func (l *loader) amiss(at hcl.Range, detail, format string, args ...any) {
	if l.onThisHost {
		l.found.errorf(at, detail, format, args...)
		return
	}
	l.found.heref(at, detail, format, args...)
}

// insist makes what was warned of this machine errors.
func (fs findings) insist() {
	for i := range fs {
		if fs[i].Here && fs[i].Severity == Warning {
			fs[i].Severity = Error
		}
	}
}

// homeAmong says which of the nodes this machine is: the one with its name; where it is said to be one of them, else the first. Empty:
// none, and nothing of it is looked at.
func (s *session) homeAmong(nodes []string) string {
	self, err := s.options.node()
	switch {
	case err == nil && slices.Contains(nodes, self):
		return self
	case s.options.Here && len(nodes) > 0:
		return nodes[0]
	default:
		return ""
	}
}

// judgeInstances says which instances could not take part on this machine. Only of a configuration without a mistake can that be known.
func (s *session) judgeInstances(v *view) (found findings) {
	unsound := func(in instance) bool { return !in.sound }
	if s.options.Judge == nil || s.files.broken || v.found.broken() || len(v.instances) == 0 || slices.ContainsFunc(v.instances, unsound) {
		return nil
	}
	whys, err := s.options.Judge(v.config)
	if err != nil {
		found.heref(hcl.Range{}, "", "the interfaces are not checked: %v", err)
	}
	for _, in := range v.instances {
		if why := whys[in.Name]; why != "" {
			found.heref(in.block.place("interface"), "", "instance %q would be in fault: %s", in.Name, why)
		}
	}
	if s.options.Remarks == nil {
		return found
	}
	remarks := s.options.Remarks(v.config)
	for _, in := range v.instances {
		if why := remarks[in.Name]; why != "" { // it can run, and most hosts have the kernel's default: no failure of --strict
			found.notef(in.block.place("peers"), "", "on this host: instance %q: %s", in.Name, why)
		}
	}
	return found
}

// judgeReaders says of each file of a configuration in its place that the daemon could not read it.
func (l *loader) judgeReaders() {
	if !l.inPlace {
		return
	}
	for _, s := range l.files.sources {
		l.judgeReader(startOf(s), s.Path, "chgrp USER FILE && chmod g+r FILE")
	}
}

// judgeReader says of a file that this process can read that the daemon, as its own user, cannot. The remedy names them USER and FILE.
func (l *loader) judgeReader(at hcl.Range, path, remedy string) {
	if !l.hands.another() || os.Geteuid() != 0 {
		return
	}
	user := l.hands.name()
	if err := command.MayRead(path, user); err != nil {
		l.amiss(at, "run: "+strings.NewReplacer("USER", user, "FILE", path).Replace(remedy), "%s cannot be read by the daemon, which is %s", path, user)
	}
}

// startOf is the place of a file as a whole.
func startOf(s Source) hcl.Range {
	return hcl.Range{Filename: s.Path, Start: hcl.InitialPos, End: hcl.InitialPos}
}
