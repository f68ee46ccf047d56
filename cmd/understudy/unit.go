package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// unitHelp tells of the options after --.
const unitHelp = "\n\nAfter -- it takes the options of run, as the units have them in UNDERSTUDY_OPTIONS, and goes by the directories among them."

// takeDaemons has a command take the options of its daemon after --, so that a unit can give it all of them: it goes by the
// directories. Only after --: a person who types --node must not get this host for another.
func (f *hostFlags) takeDaemons(cmd *cobra.Command) {
	cmd.Long += unitHelp
	own := cmd.Args
	if own == nil {
		own = cobra.NoArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if cmd.ArgsLenAtDash() == 0 {
			return nil
		}
		return own(cmd, args)
	}
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if err := f.goBy(cmd.Flags(), args); err != nil {
			return usageError{fmt.Errorf("%s: the daemon's options: %w", cmd.Name(), err)}
		}
		return nil
	}
}

// goBy takes the directories from the options of run, where the command's own flags do not say them.
func (f *hostFlags) goBy(own *pflag.FlagSet, options []string) error {
	var daemon runFlags
	run := &cobra.Command{Use: "run"}
	daemon.add(run)
	if err := run.ParseFlags(options); err != nil {
		return err
	}
	if run.Flags().NArg() > 0 {
		return errors.New("unknown argument " + run.Flags().Arg(0))
	}
	if daemon.shadow {
		daemon.stateDir = daemon.runtimeDir // where a shadow keeps its drains
	}
	if !own.Changed("runtime-dir") {
		f.runtimeDir = daemon.runtimeDir
	}
	if !own.Changed("state-dir") {
		f.stateDir = daemon.stateDir
	}
	return nil
}
