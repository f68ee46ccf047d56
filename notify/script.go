package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/understudy-ha/understudy/internal/command"
)

// ScriptOptions are the options of kind script.
type ScriptOptions struct {
	Command []string `hcl:"command" doc:"The program and its arguments. keepalived's four are appended: INSTANCE or GROUP, the name, MASTER, BACKUP, FAULT or STOP, and the priority. A script without a #! line is run by /bin/sh."`
}

// Validate implements Options.
func (o *ScriptOptions) Validate() []OptionError {
	if len(o.Command) == 0 {
		return []OptionError{{Option: "command", Reason: "is empty; write the program and its arguments as a list of strings"}}
	}
	var mistakes []OptionError
	if reason := programMistake(o.Command[0]); reason != "" {
		mistakes = append(mistakes, OptionError{Option: "command", Reason: reason})
	}
	for _, argument := range o.Command[1:] {
		if reason := wordMistake(argument); reason != "" {
			mistakes = append(mistakes, OptionError{Option: "command", Reason: reason})
		}
	}
	return mistakes
}

// New implements Options.
func (o *ScriptOptions) New() (Runner, error) {
	return script{command: slices.Clone(o.Command)}, nil
}

// shell runs scripts without a #! line, as every shell and keepalived do.
const shell = "/bin/sh"

// script runs a command and tells it the transition.
type script struct {
	command  []string
	user     string
	onlyRoot bool
}

var _ commandRunner = script{}

func (s script) as(user string, onlyRoot bool) Runner {
	s.user, s.onlyRoot = user, onlyRoot
	return s
}

func (s script) verify() error {
	return command.Verify(command.Spec{Argv: s.command, User: s.user, OnlyRoot: s.onlyRoot})
}

// Run implements Runner.
func (s script) Run(ctx context.Context, t Transition) (command.Outcome, error) {
	spec := command.Spec{
		Argv:     slices.Concat(s.command, t.arguments()),
		Env:      t.environment(command.Environment()),
		User:     s.user,
		OnlyRoot: s.onlyRoot,
	}
	outcome, err := command.Run(ctx, spec)
	if !errors.Is(err, syscall.ENOEXEC) || !filepath.IsAbs(spec.Argv[0]) {
		return outcome, err
	}
	// The file itself was found safe to run by the first attempt.
	if err := shellScript(spec.Argv[0]); err != nil {
		return outcome, err
	}
	spec.Argv = slices.Concat([]string{shell}, spec.Argv)
	return command.Run(ctx, spec)
}

// shellScript refuses what the kernel cannot execute and a shell should not: the shell would run an empty file, half of
// an upload, with success, and take a program for another processor for words.
func shellScript(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("look whether it is a shell script: %w", err)
	}
	defer f.Close()
	var head [4]byte
	n, err := io.ReadFull(f, head[:])
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return fmt.Errorf("%s is empty, so that it cannot tell anybody anything", path)
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("look whether %s is a shell script: %w", path, err)
	case string(head[:n]) == "\x7fELF":
		return fmt.Errorf("%s is a program that this host cannot execute, perhaps one for another processor", path)
	}
	return nil
}
