// Command understudy keeps virtual addresses on the host whose nginx is healthy.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes that more than one command uses.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// exitCode is an error that has said all it has to say; only the number is left.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run is main with its inputs and outputs named.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	if usage, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(stderr, "understudy: %v\nSee %s --help.\n", usage.err, cmd.CommandPath())
		return exitUsage
	}
	if err != nil {
		fmt.Fprintf(stderr, "understudy: %v\n", err)
		return exitError
	}
	return exitOK
}

// usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (u usageError) Error() string { return u.err.Error() }
func (u usageError) Unwrap() error { return u.err }

// rootCommand is the tree of all commands: one verb, one file.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "understudy",
		Short: "Keeps virtual IP addresses on a host whose nginx is healthy",
		Long: "understudy runs beside nginx on two or more hosts. VRRP elects the one host that holds the virtual addresses,\n" +
			"health checks move the election, and hooks tell nginx about it.",
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q%s", args[0], meant(cmd, args[0]))}
			}
			return cmd.Help()
		},
	}
	root.SetVersionTemplate(versionLine() + "\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.Args = cobra.ArbitraryArgs // RunE says what is wrong with them
	root.AddCommand(runCommand(), validateCommand(), statusCommand(), drainCommand(), undrainCommand(), reloadCommand(), reexecCommand(), cleanupCommand(), helperCommand(), demoCommand(), versionCommand(), manualCommand())
	for _, cmd := range root.Commands() {
		cmd.Args = asUsage(cmd.Args)
	}
	return root
}

// meant names the commands that a word is close to.
func meant(root *cobra.Command, word string) string {
	near := root.SuggestionsFor(word)
	if len(near) == 0 {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
}

// asUsage makes too many or too few arguments a usage error.
func asUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%s: %w", cmd.Name(), err)}
		}
		return nil
	}
}
