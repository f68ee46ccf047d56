package notify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Settings are what every hook has, whatever its kind.
type Settings struct {
	On        []State       `hcl:"on" doc:"The states to run for: any of \"master\", \"backup\", \"fault\", \"stop\", \"contention\"."`
	Instances []string      `hcl:"instances,optional" doc:"The instances to run for. Left out, with groups left out too: all, and all groups."`
	Groups    []string      `hcl:"groups,optional" doc:"The groups to run for, in keepalived's form GROUP. A hook that serves the whole host runs for the groups that it names only: their instances say the same."`
	Timeout   time.Duration `hcl:"timeout,optional" default:"10s" doc:"How long one run may take; then everything that it started is killed."`
	User      string        `hcl:"user,optional" doc:"The user to run as. Left out: root; a daemon that is not root asks the helper to run it, and where there is none runs it as its own user."`
}

// Validate lists all mistakes in the settings. Whether the instances exist is the configuration's business.
func (s Settings) Validate() []OptionError {
	var mistakes []OptionError
	add := func(option, format string, values ...any) {
		mistakes = append(mistakes, OptionError{Option: option, Reason: fmt.Sprintf(format, values...)})
	}
	if len(s.On) == 0 {
		add("on", "names no state, so that the hook would never run; allowed are %s", quoted(States))
	}
	for i, state := range s.On {
		switch {
		case !slices.Contains(States, state):
			add("on", "%q is no state; allowed are %s", state, quoted(States))
		case slices.Contains(s.On[:i], state):
			add("on", "%q is written twice", state)
		}
	}
	for i, name := range s.Instances {
		if slices.Contains(s.Instances[:i], name) {
			add("instances", "%q is written twice", name)
		}
	}
	for i, name := range s.Groups {
		if slices.Contains(s.Groups[:i], name) {
			add("groups", "%q is written twice", name)
		}
	}
	if s.Instances != nil && len(s.Instances) == 0 && len(s.Groups) == 0 {
		add("instances", "is empty, so that the hook would never run; leave it out for all instances")
	}
	if s.Groups != nil && len(s.Groups) == 0 && len(s.Instances) == 0 {
		add("groups", "is empty, so that the hook would never run; leave it out for all instances and groups")
	}
	if s.Timeout <= 0 {
		add("timeout", "%v is not a duration above 0", s.Timeout)
	}
	return mistakes
}

func quoted(states []State) string {
	words := make([]string, 0, len(states))
	for _, s := range states {
		words = append(words, fmt.Sprintf("%q", string(s)))
	}
	return strings.Join(words, ", ")
}

// Hook is one `notify` block, ready to run.
type Hook struct {
	// Name is unique among all hooks.
	Name string
	// Kind is the name of its kind.
	Kind string
	// PerHost is its kind's.
	PerHost  bool
	Settings Settings
	Runner   Runner
	// Privileged has it run as the helper runs it: as root where the settings name no user, and only if nobody but root
	// can replace the program.
	Privileged bool
	former     []former // what it was, the newest first
}

// wants says whether the hook is to be run for a transition.
func (h Hook) wants(t Transition) bool {
	return h.wantsNow(t) || slices.ContainsFunc(h.former, func(f former) bool { return f.wants(t) })
}

// wantsNow says whether it is to be run as the configuration of now has it.
func (h Hook) wantsNow(t Transition) bool {
	return slices.Contains(h.Settings.On, t.State) && h.isFor(t)
}

// isFor says whether the hook is for the instance or group of a transition.
func (h Hook) isFor(t Transition) bool {
	s := h.Settings
	switch {
	case len(s.Instances) == 0 && len(s.Groups) == 0:
		return !t.Group || !h.PerHost
	case t.Group:
		return slices.Contains(s.Groups, t.Instance)
	default:
		return slices.Contains(s.Instances, t.Instance)
	}
}

// commandRunner is a Runner that runs commands: the `user` of the hook's settings applies to them, and much of what
// could keep them from running is known beforehand.
type commandRunner interface {
	Runner
	as(user string, onlyRoot bool) Runner
	verify() error
}

// Verify tells what is known before the hook is needed: that its program is missing, not executable or unsafe to run, or
// that its user does not exist on this host. A hook that fails here is run all the same, since it may be mended by then.
func (h Hook) Verify() error {
	if r, ok := h.withUser().Runner.(commandRunner); ok {
		return r.verify()
	}
	return nil
}

func (h Hook) withUser() Hook {
	user := h.Settings.User
	if h.Privileged {
		user = cmp.Or(user, "root")
	}
	if r, ok := h.Runner.(commandRunner); ok {
		h.Runner = r.as(user, h.Privileged)
	}
	return h
}

func withUsers(hooks []Hook) []Hook {
	bound := make([]Hook, 0, len(hooks))
	for _, h := range hooks {
		bound = append(bound, h.withUser())
	}
	return bound
}
