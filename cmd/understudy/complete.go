package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/node"
)

// completeBound is how long a shell waits for the names that a daemon knows.
const completeBound = 500 * time.Millisecond

// Of what is typed only paths are files; a shell asks for the names of these itself.
var (
	completeFiles = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	completeDirs  = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
)

// complete offers one of the names that pick finds in the running daemon's report. Without a daemon, or without the right to
// ask it, there are none.
func (f *hostFlags) complete(pick func(node.Report) []cobra.Completion) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), completeBound) // the command itself does not run
		defer cancel()
		r, err := control.Dial(f.runtimeDir).Report(ctx)
		if err != nil || r.Node == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return pick(r), cobra.ShellCompDirectiveNoFileComp
	}
}

// standing are the names that status takes, with their states.
func standing(r node.Report) (names []cobra.Completion) {
	for _, i := range r.Node.Instances {
		names = append(names, cobra.CompletionWithDesc(i.Name, "instance, "+string(i.State)))
	}
	for _, g := range r.Node.Groups {
		names = append(names, cobra.CompletionWithDesc(g.Name, "group, "+string(g.State)))
	}
	return names
}

// drains are the names whose drains are in force.
func drains(r node.Report) (names []cobra.Completion) {
	for _, name := range r.Node.Drained {
		names = append(names, cobra.CompletionWithDesc(name, "drains this host"))
	}
	return names
}

// completeFlag completes the value of a flag that cmd has.
func completeFlag(cmd *cobra.Command, name string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
		panic("understudy: " + err.Error())
	}
}
