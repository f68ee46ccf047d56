package checks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/understudy-ha/understudy/internal/command"
)

// ScriptOptions are the options of a script check.
type ScriptOptions struct {
	Command []string `hcl:"command" doc:"The program, an absolute path or a name in PATH, and its arguments. Exit status 0 is healthy; the last line of output is the reason."`
	User    string   `hcl:"user,optional" doc:"User, by name or number, to run it as; a daemon that is not root asks the helper to. Default: the daemon's own, in the daemon."`
}

var (
	_ Options     = (*ScriptOptions)(nil)
	_ Preflighter = (*ScriptOptions)(nil)
	_ Commander   = (*ScriptOptions)(nil)
	_ Command     = (*scriptChecker)(nil)
)

func newScriptOptions() Options {
	o := new(ScriptOptions)
	SetDefaults(o)
	return o
}

// Validate names every impossible value.
func (o *ScriptOptions) Validate() []OptionError {
	if len(o.Command) == 0 || o.Command[0] == "" {
		return []OptionError{{"command", `is empty; write the program and its arguments, such as ["/usr/local/bin/check", "-w", "5"]`}}
	}
	return nil
}

// Preflight tells whether this host has the program and the user, and whether the program is safe to run.
func (o *ScriptOptions) Preflight() error {
	return command.Verify(o.spec())
}

// New makes the Checker. A program that is missing then is a failing check, not an error.
func (o *ScriptOptions) New() (Checker, error) {
	return &scriptChecker{spec: o.spec()}, nil
}

func (o *ScriptOptions) spec() command.Spec {
	return command.Spec{Argv: o.Command, User: o.User}
}

// RunsAs implements Commander.
func (o *ScriptOptions) RunsAs() string { return o.User }

// Names implements Commander.
func (o *ScriptOptions) Names() []string {
	return slices.DeleteFunc(slices.Clone(o.Command), func(word string) bool { return !filepath.IsAbs(word) })
}

// As implements Commander.
func (o *ScriptOptions) As(user string) Preflighter {
	return &scriptChecker{spec: command.Spec{Argv: o.Command, User: user}}
}

// Privileged implements Commander.
func (o *ScriptOptions) Privileged() Command {
	return &scriptChecker{spec: command.Spec{Argv: o.Command, User: cmp.Or(o.User, unprivileged), OnlyRoot: true}}
}

type scriptChecker struct {
	spec command.Spec
}

// Preflight implements Preflighter.
func (c *scriptChecker) Preflight() error { return command.Verify(c.spec) }

// Check runs the program once.
func (c *scriptChecker) Check(ctx context.Context) error {
	_, err := c.Examine(ctx)
	return err
}

// Examine runs the program once and keeps its output.
func (c *scriptChecker) Examine(ctx context.Context) (Finding, error) {
	out, err := command.Run(ctx, c.spec)
	line := out.LastLine()
	f := Finding{Word: cmp.Or(line, "exit status 0"), Output: out.Output}
	switch {
	case err == nil || line == "":
		return f, err
	case errors.Is(err, context.DeadlineExceeded):
		return f, fmt.Errorf("%w; its last output: %s", err, line)
	}
	return f, fmt.Errorf("%s (%w)", line, err)
}
