package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/daemon"
)

// Exit codes of drain (the design's section 7).
const (
	exitNobodyTook = 4
	exitUnsaved    = 5
)

// steerBound is how long a steering command may take: two hosts' worth of the longest handover.
const steerBound = 25 * time.Second

// defaultDrain is who drains when nobody is named.
const defaultDrain = "admin"

// drainCommand hands everything to another host, until undrain.
func drainCommand() *cobra.Command {
	var f hostFlags
	var name string
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Hand the addresses to another host, and stay out of the election until undrain",
		Long: "Hands the addresses to another host and keeps this one from taking them back, also over restarts and reboots, until\n" +
			"undrain. If no other host takes them this one serves on, and offers them again.\n\n" +
			"Exits 0 when another host has the addresses (or none was here), 4 when nobody took them, 5 when it is done but\n" +
			"could not be saved. Without a running daemon it changes the saved set and exits 0.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return drain(cmd, &f, name) },
	}
	f.addDirs(cmd)
	cmd.Flags().StringVar(&name, "for", defaultDrain, "whose drain it is; each undrain lifts only its own `name`")
	return cmd
}

func drain(cmd *cobra.Command, f *hostFlags, name string) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), steerBound)
	defer cancel()
	d, err := control.Dial(f.runtimeDir).Drain(ctx, name)
	if errors.Is(err, control.ErrNotRunning) {
		return saveDrain(cmd, f, name, true)
	}
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	switch {
	case len(d.Kept) > 0:
		fmt.Fprintf(out, "nobody took over %s: this host serves on, and offers it again\n", strings.Join(d.Kept, ", "))
	case len(d.Moved) > 0:
		fmt.Fprintf(out, "drained: another host has %s\n", strings.Join(d.Moved, ", "))
	default:
		fmt.Fprintln(out, "drained: this host held no address")
	}
	if d.Unsaved != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "understudy: not saved, it holds until this daemon ends: %s\n", d.Unsaved)
		return exitCode(exitUnsaved)
	}
	if len(d.Kept) > 0 {
		return exitCode(exitNobodyTook)
	}
	return nil
}

// saveDrain changes the saved set for the daemon that is started next.
func saveDrain(cmd *cobra.Command, f *hostFlags, name string, on bool) error {
	if err := (daemon.Drains{StateDir: f.stateDir, RuntimeDir: f.runtimeDir}).Set(name, on); err != nil {
		return err
	}
	what := "drained"
	if !on {
		what = "undrained"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "understudy is not running: %s from its next start\n", what)
	return nil
}

// undrainCommand lifts one drain.
func undrainCommand() *cobra.Command {
	var f hostFlags
	var name string
	cmd := &cobra.Command{
		Use:   "undrain",
		Short: "Take part in the election again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), steerBound)
			defer cancel()
			err := control.Dial(f.runtimeDir).Undrain(ctx, name)
			if errors.Is(err, control.ErrNotRunning) {
				return saveDrain(cmd, &f, name, false)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "undrained")
			return nil
		},
	}
	f.addDirs(cmd)
	cmd.Flags().StringVar(&name, "for", defaultDrain, "whose drain to lift, by `name`")
	completeFlag(cmd, "for", f.complete(drains))
	return cmd
}

// reloadCommand has the daemon read its configuration again.
func reloadCommand() *cobra.Command {
	var f hostFlags
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read its configuration again",
		Long: "Has the daemon read its configuration again. It is applied whole or not at all: a configuration with mistakes leaves\n" +
			"the running one as it is, and the command exits 1 with the mistakes.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), steerBound)
			defer cancel()
			r, err := control.Dial(f.runtimeDir).Reload(ctx)
			if errors.Is(err, control.ErrNotRunning) {
				return err
			}
			if err != nil {
				return fmt.Errorf("not reloaded, the running configuration goes on:\n%w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), r.Summary)
			return nil
		},
	}
	f.addDirs(cmd)
	return cmd
}
