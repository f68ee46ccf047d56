package notify

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/understudy-ha/understudy/internal/command"
)

// Runner is what a kind of hook does for one transition. A nil error is success; the error is the reason of the failure.
// Run must return soon after ctx ends, with everything that it started gone: the hook's queue waits for it.
type Runner interface {
	Run(ctx context.Context, t Transition) (command.Outcome, error)
}

// Options are the options of one kind. The type behind it is a pointer to a struct whose fields have the tags `hcl`,
// `default` and `doc`: the configuration is decoded into it, and the manual is made from it.
type Options interface {
	// Validate lists all mistakes. It looks at nothing but the options, so that a configuration can be validated on
	// another host.
	Validate() []OptionError
	// New makes the Runner that these options describe.
	New() (Runner, error)
}

// OptionError is a mistake in the value of one option.
type OptionError struct {
	// Option is its name in the configuration.
	Option string
	// Reason says what is wrong with the value and what is allowed.
	Reason string
}

// Kind is a kind of hook.
type Kind struct {
	// Name is the first label of the `notify` block.
	Name string
	// Doc is one sentence for the manual.
	Doc string
	// New makes a new, empty set of options.
	New func() Options
	// PerHost kinds have one queue for the host: one run serves all instances that changed in the meantime.
	PerHost bool
}

// Kinds lists every kind. A new one is a file and a line here.
var Kinds = []Kind{
	{Name: "script", Doc: "Runs a command with keepalived's four arguments appended.", New: func() Options { return new(ScriptOptions) }},
	{Name: "nginx", Doc: "Tests nginx's configuration and reloads nginx if the test passes.", New: func() Options { return new(NginxOptions) }, PerHost: true},
}

// KindNamed finds a kind by its name.
func KindNamed(name string) (Kind, bool) {
	for _, k := range Kinds {
		if k.Name == name {
			return k, true
		}
	}
	return Kind{}, false
}

// programMistake says what is wrong with a program's name, "" if nothing is. The rule is package command's.
func programMistake(name string) string {
	switch {
	case name == "":
		return "names no program"
	case strings.Contains(name, "/") && !filepath.IsAbs(name):
		return fmt.Sprintf("%q is a relative path; write an absolute path, or a name to look up in PATH", name)
	}
	return wordMistake(name)
}

// wordMistake says what is wrong with one word of a command line.
func wordMistake(word string) string {
	if strings.ContainsRune(word, 0) {
		return fmt.Sprintf("%q contains a NUL byte, which no program can be given", word)
	}
	return ""
}
