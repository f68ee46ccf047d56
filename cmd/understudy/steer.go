package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/daemon"
	"github.com/understudy-ha/understudy/internal/node"
)

// Exit codes of drain.
const (
	exitNobodyTook = 4
	exitUnsaved    = 5
	exitDropped    = 6
)

// steerBound is how long a steering command may take: two hosts' worth of the longest handover.
const steerBound = 25 * time.Second

// defaultDrain is who drains when nobody is named.
const defaultDrain = "admin"

// nginxStopHelp tells of the drain that nobody typed.
const nginxStopHelp = "understudy-nginx.service drains for nginx-stop before nginx stops, and undrains when nginx has started again. That drain\n" +
	"does not outlive a reboot. It is there also after somebody has stopped that unit: to turn it off\n\n" +
	"  systemctl disable --now understudy-nginx && understudy undrain --for nginx-stop"

// drainCommand hands everything to another host, until undrain.
func drainCommand() *cobra.Command {
	var f hostFlags
	var name string
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Hand the addresses to another host, and stay out of the election until undrain",
		Long: "Hands the addresses to another host and keeps this one from taking them back, also over restarts and reboots, until\n" +
			"undrain. If no other host takes them this one serves on, and offers them again. Where a process check says that what\n" +
			"serves has ended, and nobody has taken over yet, nothing is waited for.\n\n" +
			"Exits 0 when another host has the addresses (or none was here), 4 when nobody took them and this host serves on, 5 when\n" +
			"it is done but could not be saved, 6 when this host had to let go of some meanwhile (its interface failed, a check\n" +
			"releases) and nobody was heard to take over. Of several that hold it is 6, then 5, then 4. Without a running daemon it\n" +
			"changes the saved set and exits 0.\n\n" + nginxStopHelp,
		Args: wholeHost,
		RunE: func(cmd *cobra.Command, _ []string) error { return drain(cmd, &f, name) },
	}
	f.addDirs(cmd)
	f.takeDaemons(cmd)
	cmd.Flags().StringVar(&name, "for", defaultDrain, "whose drain it is; each undrain lifts only its own `name`")
	return cmd
}

func drain(cmd *cobra.Command, f *hostFlags, name string) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), steerBound)
	defer cancel()
	var d node.Drained
	err := steered(f, name, true, func(c *control.Client) (err error) { d, err = c.Drain(ctx, name); return err })
	if errors.Is(err, control.ErrNotRunning) {
		fmt.Fprintln(cmd.OutOrStdout(), "understudy is not running: drained from its next start")
		return nil
	}
	if err != nil {
		return err
	}
	return drained(cmd, d)
}

// drained prints how a drain has ended, and returns the exit code for it.
func drained(cmd *cobra.Command, d node.Drained) error {
	fmt.Fprint(cmd.OutOrStdout(), drainLines(d))
	for _, name := range d.Dropped {
		fmt.Fprintf(cmd.ErrOrStderr(), "understudy: this host has let go of %s, and nobody was heard to take over (%s)\n", name, d.Why[name])
	}
	if d.Unsaved != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "understudy: not saved, it holds until this daemon ends: %s\n", d.Unsaved)
	}
	switch {
	case len(d.Dropped) > 0:
		return exitCode(exitDropped)
	case d.Unsaved != "":
		return exitCode(exitUnsaved)
	case len(d.Kept)+len(d.Dead) > 0:
		return exitCode(exitNobodyTook)
	}
	return nil
}

// drainLines say what became of each instance; what was dropped is an error, and not among it.
func drainLines(d node.Drained) string {
	var b strings.Builder
	taken := map[string][]string{}
	for _, name := range d.Moved {
		taken[d.To[name]] = append(taken[d.To[name]], name)
	}
	for _, host := range slices.Sorted(maps.Keys(taken)) {
		fmt.Fprintf(&b, "drained: %s has %s\n", cmp.Or(host, "another host"), strings.Join(taken[host], ", "))
	}
	if len(d.Dead) > 0 {
		fmt.Fprintf(&b, "what serves %s has ended: the handover goes on, and was not waited for\n", strings.Join(d.Dead, ", "))
	}
	if len(d.Removed) > 0 {
		fmt.Fprintf(&b, "%s: no longer configured here, and no longer on this host\n", strings.Join(d.Removed, ", "))
	}
	if len(d.Kept) > 0 {
		fmt.Fprintf(&b, "nobody took over %s: this host serves on, and offers it again\n", strings.Join(d.Kept, ", "))
	}
	if b.Len() == 0 && len(d.Dropped) == 0 {
		return "drained: this host held no address\n"
	}
	return b.String()
}

// steered asks the daemon. Where none runs it changes the saved set, for the one that is started next, and asks once more: one
// that is starting may have read the set before.
func steered(f *hostFlags, name string, on bool, ask func(*control.Client) error) error {
	if err := control.CheckDrainName(name); err != nil {
		return err
	}
	client := control.Dial(f.runtimeDir)
	err := ask(client)
	if _, ok := errors.AsType[*control.SilentError](err); ok {
		return fmt.Errorf("%w; what it had begun to do it does all the same once it goes on: see understudy status then", err)
	}
	if !errors.Is(err, control.ErrNotRunning) {
		return err
	}
	if err := savedDrains(f).Set(name, on); err != nil {
		return err
	}
	return ask(client)
}

// wholeHost refuses arguments: the name of an instance is the first that people think of.
func wholeHost(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("a host is drained as a whole, with all that it has; leave %q out (--for NAME says whose drain it is)", args[0])
	}
	return nil
}

// savedDrains is the set that outlives a daemon.
func savedDrains(f *hostFlags) daemon.Drains {
	return daemon.Drains{StateDir: f.stateDir, RuntimeDir: f.runtimeDir}
}

// stillDrained says what else drains this host, and how each of them is lifted.
func stillDrained(names []string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "; still drained by %s", name)
		if !filepath.IsAbs(name) { // else it is a file that could not be read, and the log says what to do
			fmt.Fprintf(&b, ": understudy undrain --for %s", shellQuoted(name))
		}
	}
	return b.String()
}

// plainWord is what a shell takes as it is written.
var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// shellQuoted is a word as a shell takes it.
func shellQuoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// undrain lifts one drain, and says which are left.
func undrain(cmd *cobra.Command, f *hostFlags, name string) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), steerBound)
	defer cancel()
	saved, loadErr := savedDrains(f).Load()
	u := node.Undrained{Unknown: loadErr == nil && !slices.Contains(saved, name)}
	err := steered(f, name, false, func(c *control.Client) error {
		answer, err := c.Undrain(ctx, name)
		if err == nil {
			u = answer
		}
		return err
	})
	what := ""
	if u.Unknown {
		what = fmt.Sprintf(" (there was no drain for %s)", shellQuoted(name))
	}
	if errors.Is(err, control.ErrNotRunning) {
		left, err := savedDrains(f).Load()
		fmt.Fprintf(cmd.OutOrStdout(), "understudy is not running: undrained from its next start%s%s\n", what, stillDrained(left))
		if err != nil { // of another file than the one that was changed
			fmt.Fprintf(cmd.ErrOrStderr(), "understudy: %v\n", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	var left []string
	if r, err := control.Dial(f.runtimeDir).Report(ctx); err == nil && r.Node != nil { // undrained it is, whether or not the daemon says more
		left = r.Node.Drained
	}
	if u.Unknown {
		fmt.Fprintf(cmd.OutOrStdout(), "there was no drain for %s%s\n", shellQuoted(name), stillDrained(left))
		return nil
	}
	fmt.Fprintf(cmd.OutOrStdout(), "undrained%s\n", stillDrained(left))
	return nil
}

// undrainCommand lifts one drain.
func undrainCommand() *cobra.Command {
	var f hostFlags
	var name string
	cmd := &cobra.Command{
		Use:   "undrain",
		Short: "Take part in the election again",
		Long:  "Lifts one drain. The host takes part in the election again when nobody's drain is left; which are left is said.\n\n" + nginxStopHelp,
		Args:  wholeHost,
		RunE:  func(cmd *cobra.Command, _ []string) error { return undrain(cmd, &f, name) },
	}
	f.addDirs(cmd)
	f.takeDaemons(cmd)
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
			"the running one as it is, and the command exits 1 with the mistakes. So does one with which an instance that runs would\n" +
			"be in fault on this host as it is, for want of an interface, an address to send from or a virtual MAC address.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), steerBound)
			defer cancel()
			r, err := control.Dial(f.runtimeDir).Reload(ctx)
			if _, silent := errors.AsType[*control.SilentError](err); silent || errors.Is(err, control.ErrNotRunning) {
				return err
			}
			if err != nil {
				return fmt.Errorf("not reloaded, the running configuration goes on:\n%w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), r.Summary)
			return nil
		},
	}
	f.addRuntimeDir(cmd)
	f.takeDaemons(cmd)
	return cmd
}
