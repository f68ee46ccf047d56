package checks

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxComm is how many bytes of a program's name the kernel keeps (TASK_COMM_LEN without the NUL).
const maxComm = 15

// byName finds the main process of a program: of nginx the master, not its workers.
type byName struct {
	name, root string
	last       process // looked at first, so that a healthy run does not read all of /proc
}

func (b *byName) locate() (process, string, error) {
	if p, err := readProcess(b.root, b.last.pid); err == nil && p.same(b.last) && b.matches(p) {
		return p, runs(p), nil
	}
	all, err := allProcesses(b.root)
	if err != nil {
		return process{}, "", err
	}
	named := slices.DeleteFunc(all, func(p process) bool { return !b.matches(p) })
	masters := slices.DeleteFunc(slices.Clone(named), func(p process) bool { return b.subordinate(p, named) })
	switch {
	case len(named) == 0:
		return process{}, "", fmt.Errorf("no process named %s runs", b.name)
	case len(masters) == 0:
		return process{}, "", fmt.Errorf("no master process of %s runs, only workers that it left behind: %s", b.name, names(named))
	}
	b.last = oldest(masters)
	return b.last, runs(b.last), nil
}

func (b *byName) matches(p process) bool {
	return p.comm == b.name[:min(len(b.name), maxComm)]
}

// subordinate tells whether a process is a worker. By its title if it gave itself one, as nginx and php-fpm do: a
// worker stays one when its master died, and a master that was started by the one that it replaces is no worker.
// Else by its parent.
func (b *byName) subordinate(p process, named []process) bool {
	if title, ok := strings.CutPrefix(commandLine(b.root, p.pid), b.name+": "); ok {
		if strings.HasPrefix(title, "master") {
			return false
		}
		for _, worker := range []string{"worker ", "cache ", "privileged agent", "pool "} {
			if strings.HasPrefix(title, worker) {
				return true
			}
		}
	}
	return slices.ContainsFunc(named, func(q process) bool { return q.pid == p.parent })
}

// byCommandLine finds a process whose command line matches.
type byCommandLine struct {
	re   *regexp.Regexp
	root string
	last process
}

func (b *byCommandLine) locate() (process, string, error) {
	if p, err := readProcess(b.root, b.last.pid); err == nil && p.same(b.last) && b.matches(p) {
		return p, runs(p), nil
	}
	all, err := allProcesses(b.root)
	if err != nil {
		return process{}, "", err
	}
	matching := slices.DeleteFunc(all, func(p process) bool { return !b.matches(p) })
	if len(matching) == 0 {
		return process{}, "", fmt.Errorf("no process with a command line that matches %q runs", b.re)
	}
	b.last = oldest(matching)
	return b.last, runs(b.last), nil
}

func (b *byCommandLine) matches(p process) bool {
	line := commandLine(b.root, p.pid)
	return line != "" && b.re.MatchString(line)
}

func oldest(ps []process) process {
	return slices.MinFunc(ps, func(a, b process) int {
		if a.start != b.start {
			return cmp.Compare(a.start, b.start)
		}
		return a.pid - b.pid
	})
}

func runs(p process) string { return fmt.Sprintf("pid %d runs", p.pid) }

// maxNames is how many processes a reason lists.
const maxNames = 3

func names(ps []process) string {
	list := make([]string, 0, maxNames+1)
	for i, p := range slices.SortedFunc(slices.Values(ps), func(a, b process) int { return a.pid - b.pid }) {
		if i == maxNames {
			list = append(list, fmt.Sprintf("%d more", len(ps)-maxNames))
			break
		}
		list = append(list, p.String())
	}
	return strings.Join(list, ", ")
}
