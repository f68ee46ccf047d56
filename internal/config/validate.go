package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/vrrp"
)

// Report is what Validate or Load found.
type Report struct {
	// Nodes are those that the files were evaluated for.
	Nodes    []string
	Findings []Finding
	// Sources are the files that were read, in the order of reading.
	Sources []Source
	// Files are the paths of all that was read or looked for.
	Files []string
}

// Validate evaluates the files for each of nodes; without any, for this node and every name in an expect block. It looks
// at this machine (scripts, keys, interfaces) where it is one of them, and proves that each failing check can move the addresses. A
// fragment, with no instance or no checks in it, is valid.
func Validate(paths []string, nodes []string, o Options) Report {
	s := session{files: read(paths), options: o, views: map[string]*view{}}
	if len(nodes) == 0 {
		nodes = s.allNodes()
	}
	nodes = s.fit(nodes)
	s.home = s.homeAmong(nodes)
	perNode := make([]findings, len(nodes))
	for i, name := range nodes {
		v := s.view(name)
		perNode[i] = append(slices.Clone(v.found), v.prove(func(in *instance) ([]rival, bool) { return s.rivals(name, in, nodes) })...)
		if name == s.home {
			perNode[i] = append(perNode[i], s.judgeInstances(v)...)
		}
	}
	merged := append(s.files.found, merge(nodes, perNode)...)
	if o.Here {
		merged.insist()
	}
	if len(nodes) > 0 {
		first := s.view(nodes[0])
		for _, name := range nodes[1:] {
			merged = append(merged, compare(first, s.view(name))...)
		}
		merged = append(merged, s.unjudged(first, nodes)...)
		merged = append(merged, s.contradictions(nodes)...)
		merged = append(merged, advice(first)...)
	}
	return Report{Nodes: nodes, Findings: merged.reported(s.files.sources), Sources: s.files.sources, Files: s.files.looked}
}

// session is one Validate: the files and what each node sees in them.
type session struct {
	files   *files
	options Options
	home    string // which node this machine is; empty: none
	views   map[string]*view
}

func (s *session) view(name string) *view {
	if v, ok := s.views[name]; ok {
		return v
	}
	here := name == s.home
	v := evaluate(s.files, loader{
		node: name, getenv: s.options.getenv(), here: here, inPlace: here && s.options.Here && s.files.whole, hands: s.options.hands(),
		fragment: !s.files.whole,
	})
	s.views[name] = v
	return v
}

// allNodes is this node and every name in an expect block.
func (s *session) allNodes() []string {
	self, err := s.options.node()
	if err != nil {
		s.files.fail(err)
		return nil
	}
	s.home = self
	nodes := []string{self}
	for _, in := range s.view(self).instances {
		for _, e := range in.expects {
			if !slices.Contains(nodes, e.node) && nodeName(e.node) == nil {
				nodes = append(nodes, e.node)
			}
		}
	}
	return nodes
}

// fit drops names that no node can have, and those that are given twice.
func (s *session) fit(names []string) []string {
	var nodes []string
	for _, name := range names {
		if err := nodeName(name); err != nil {
			s.files.fail(err)
		} else if !slices.Contains(nodes, name) {
			nodes = append(nodes, name)
		}
	}
	return nodes
}

// rivals are the other hosts of an instance: those that its expect blocks name, and those that the files are validated for.
// ok is false where mistakes in the files, reported elsewhere, hide what one of them has.
func (s *session) rivals(self string, in *instance, nodes []string) (others []rival, ok bool) {
	names := slices.Clone(nodes)
	written := map[string]int{}
	for _, e := range in.expects {
		written[e.node] = e.priority
		if !slices.Contains(names, e.node) {
			names = append(names, e.node)
		}
	}
	for _, name := range names {
		if name == self {
			continue
		}
		base, healthy, ok := s.priority(name, in.Name)
		switch {
		// A host that runs these files has its positive weights on top of what is written.
		case written[name] > 0 && (!ok || base != written[name]):
			others = append(others, rival{name, written[name]})
		case ok:
			others = append(others, rival{name, healthy})
		default:
			return nil, false
		}
	}
	return others, true
}

// priority is what these very files give an instance on a host: as written, and with the weights while it is healthy.
func (s *session) priority(name, instanceName string) (base, healthy int, ok bool) {
	v := s.view(name)
	i := slices.IndexFunc(v.instances, func(in instance) bool { return in.Name == instanceName })
	if i < 0 || !v.instances[i].sound {
		return 0, 0, false
	}
	_, healthy = effective(&v.instances[i].Instance, "")
	return int(v.instances[i].Priority), healthy, true
}

// unjudged reports the hosts that an expect block leaves to these files, where these are not validated for them and have
// mistakes there: otherwise nobody would hear of it.
func (s *session) unjudged(v *view, nodes []string) findings {
	var found findings
	for _, in := range v.instances {
		for _, e := range in.expects {
			if e.priority > 0 || slices.Contains(nodes, e.node) || nodeName(e.node) != nil {
				continue
			}
			if _, _, ok := s.priority(e.node, in.Name); !ok {
				found.errorf(e.at, "write its priority, or see validate --node "+e.node, "expect %q has no priority, and these files have mistakes for that host", e.node)
			}
		}
	}
	return found
}

// contradictions reports where an expect block says other than these files about a host. Where the files tell hosts apart,
// one of the two is wrong; where they do not, they are not what that host runs.
func (s *session) contradictions(nodes []string) findings {
	var found findings
	for _, name := range nodes {
		for _, in := range s.view(name).instances {
			here, e := int(in.Priority), in.expectOf(name)
			if !in.sound || e.priority == 0 || e.priority == here {
				continue
			}
			severity := Warning
			if other, _, ok := s.priority(nodes[0], in.Name); name != nodes[0] && ok && other == here {
				severity = Note
			}
			found = append(found, Finding{
				Severity: severity, Range: e.at, Detail: "leave the priority out of expect where that host runs these files",
				Summary: fmt.Sprintf("expect %q says %d, and these files give %q %d there", name, e.priority, in.Name, here),
			})
		}
	}
	return found
}

// merge reports once what several nodes have in common, and names the nodes where not all of them have it.
func merge(nodes []string, perNode []findings) findings {
	type key struct {
		severity        Severity
		summary, detail string
		at              hcl.Range
	}
	var out findings
	index := map[key]int{}
	for i, fs := range perNode {
		for _, f := range fs {
			k := key{f.Severity, f.Summary, f.Detail, f.Range}
			at, ok := index[k]
			if !ok {
				at = len(out)
				index[k] = at
				out = append(out, f)
			}
			if !slices.Contains(out[at].Nodes, nodes[i]) {
				out[at].Nodes = append(out[at].Nodes, nodes[i])
			}
		}
	}
	for i := range out {
		if len(out[i].Nodes) == len(nodes) {
			out[i].Nodes = nil
		}
	}
	return out
}

// advice says what is true of a valid configuration and easily forgotten.
func advice(v *view) findings {
	var found findings
	for _, in := range v.instances {
		adviseTTL(&found, &in)
		switch {
		case in.block.has("peers") || in.Interface == "":
		case in.Auth == nil:
			found.notef(in.block.at, "", "every host on %s is a peer of %q: it has neither peers nor auth", in.Interface, in.Name)
		case in.Auth.Mode != vrrp.Enforce:
			found.notef(in.block.at, `write mode = "enforce" once every host signs`, "every host on %s is a peer of %q while its auth mode is %q",
				in.Interface, in.Name, in.Auth.Mode)
		}
	}
	return found
}

// Count returns how many findings have the severity.
func (r Report) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Lacking returns how many warnings are about this machine: with Options.Here they are errors.
func (r Report) Lacking() int {
	n := 0
	for _, f := range r.Findings {
		if f.Here && f.Severity == Warning {
			n++
		}
	}
	return n
}

// Failing lists the nodes for which the configuration cannot be used, as OK has it for all. What hides behind their mistakes may
// fail the others too.
func (r Report) Failing(strict bool) (nodes []string) {
	for _, name := range r.Nodes {
		fails := func(f Finding) bool {
			return (f.Severity == Error || strict && f.Severity == Warning) && (len(f.Nodes) == 0 || slices.Contains(f.Nodes, name))
		}
		if slices.ContainsFunc(r.Findings, fails) {
			nodes = append(nodes, name)
		}
	}
	return nodes
}

// OK says that the configuration can be used; if strict, that there is no warning either.
func (r Report) OK(strict bool) bool {
	return r.Count(Error) == 0 && (!strict || r.Count(Warning) == 0)
}

// Text writes the findings for people, each with its source line.
func (r Report) Text() string { return format(r.Findings, r.Sources) }

// Mistakes writes the errors alone: why the configuration cannot be used.
func (r Report) Mistakes() string {
	errs := slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Severity != Error })
	return strings.TrimSpace(format(errs, r.Sources))
}

// JSON writes the findings for programs.
func (r Report) JSON() ([]byte, error) {
	type finding struct {
		Severity Severity `json:"severity"`
		File     string   `json:"file,omitempty"`
		Line     int      `json:"line,omitempty"`
		Column   int      `json:"column,omitempty"`
		Summary  string   `json:"summary"`
		Detail   string   `json:"detail,omitempty"`
		Nodes    []string `json:"nodes,omitempty"`
		Here     bool     `json:"here,omitempty"`
		Source   string   `json:"source,omitempty"`
	}
	out := struct {
		Nodes    []string  `json:"nodes"`
		Errors   int       `json:"errors"`
		Warnings int       `json:"warnings"`
		Findings []finding `json:"findings"`
	}{r.Nodes, r.Count(Error), r.Count(Warning), []finding{}}
	m := masks{sources: r.Sources}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, finding{
			f.Severity, f.Range.Filename, f.Range.Start.Line, f.Range.Start.Column, f.Summary, f.Detail, f.Nodes, f.Here, m.snippet(f.Range),
		})
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the report as JSON: %w", err)
	}
	return text, nil
}
