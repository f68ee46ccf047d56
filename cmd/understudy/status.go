package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/node"
)

// Exit codes of status INSTANCE.
const (
	exitBackup     = 3
	exitFault      = 4 // or drained
	exitNotRunning = 5
	exitSilent     = 6 // a daemon runs, and does not answer
	// exitLook is of status without a name: it goes on, and somebody should look.
	exitLook = 3
)

// statusBound is how long a daemon may take to answer.
const statusBound = 5 * time.Second

// statusCommand shows who is master, and why.
func statusCommand() *cobra.Command {
	var f hostFlags
	var asJSON bool
	var check string
	cmd := &cobra.Command{
		Use:   "status [INSTANCE|GROUP]",
		Short: "Show who holds the addresses, and why",
		Long: "Shows each instance on one screen: its state and since when, its priority as a sum, who is master, its addresses and\n" +
			"checks, and the last change with its cause.\n\n" +
			"With INSTANCE or GROUP exits 0 for master, 3 for backup or init, 4 for fault or drained. Without, for monitoring, 4 when an\n" +
			"instance is in fault, a second master is seen, or one of its addresses in another virtual router, adverts do not leave or are\n" +
			"dropped here, or an address is here that should not be or that something else has set too, 3 when it goes on and somebody\n" +
			"should look (a check is unhealthy, a hook's last run failed, the configuration or an exchange of the program was refused, a\n" +
			"peer's name has no address), else 0. In any case 5 when the daemon does not run, 6 when it does not answer; then nothing is\n" +
			"printed, nor by --json.\n\n" +
			"With --check it shows that check with all that is kept of its last output, and exits 0 if it is healthy, 4 if not, 3 while it\n" +
			"has no verdict.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if check != "" && len(args) > 0 {
				return usageError{errors.New("give an instance or group, or --check, not both")}
			}
			return status(cmd, &f, args, check, asJSON)
		},
	}
	f.addRuntimeDir(cmd)
	cmd.ValidArgsFunction = f.complete(standing)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&check, "check", "", "show only this `check`, with its output")
	completeFlag(cmd, "check", f.complete(checkNames))
	return cmd
}

func status(cmd *cobra.Command, f *hostFlags, args []string, check string, asJSON bool) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), statusBound)
	defer cancel()
	r, err := control.Dial(f.runtimeDir).Report(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		fmt.Fprintf(cmd.ErrOrStderr(), "understudy: %v\n", err)
		return exitCode(exitNotRunning)
	}
	if _, ok := errors.AsType[*control.SilentError](err); ok {
		fmt.Fprintf(cmd.ErrOrStderr(), "understudy: %v\n", err)
		return exitCode(exitSilent)
	}
	if err != nil {
		return err
	}
	if check != "" {
		return statusOfCheck(cmd, r, check, asJSON)
	}
	if len(args) == 1 {
		if err := only(r.Node, args[0]); err != nil {
			return err
		}
	}
	if asJSON {
		if err := printJSON(cmd, r); err != nil {
			return err
		}
	} else {
		fmt.Fprint(cmd.OutOrStdout(), screen(r, time.Now()))
	}
	code := hostCode(r)
	if len(args) == 1 {
		code = instanceCode(r)
	}
	if code != exitOK {
		return exitCode(code)
	}
	return nil
}

func printJSON(cmd *cobra.Command, what any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	if err := enc.Encode(what); err != nil {
		return fmt.Errorf("print the status: %w", err)
	}
	return nil
}

// only leaves one instance in the picture, or one group and its instances. The error says that there is none of that name, and
// which there are.
func only(s *node.Status, name string) error {
	var names []string
	for _, g := range s.Groups {
		names = append(names, g.Name)
	}
	for _, i := range s.Instances {
		names = append(names, i.Name)
	}
	s.Groups = slices.DeleteFunc(s.Groups, func(g node.GroupStatus) bool { return g.Name != name })
	isGroup := len(s.Groups) > 0
	s.Instances = slices.DeleteFunc(s.Instances, func(i node.InstanceStatus) bool {
		return isGroup && i.Group != name || !isGroup && i.Name != name
	})
	if len(s.Instances) == 0 {
		return fmt.Errorf("no instance and no group %q here; there are: %s", name, strings.Join(names, ", "))
	}
	return nil
}

// hostCode is what monitoring asks for. A drained host is as somebody wants it.
func hostCode(r node.Report) int {
	for _, i := range r.Node.Instances {
		mute := slices.ContainsFunc(i.Routers, func(m node.RouterStatus) bool { return m.SendError != "" })
		if i.State == node.Fault || i.TwoMasters != "" || i.Clash != "" || i.Leftover != nil || i.Beside != "" || mute {
			return exitFault
		}
	}
	if slices.ContainsFunc(r.Node.Links, func(l node.LinkStatus) bool { return len(l.Dropped) > 0 }) {
		return exitFault
	}
	missing := func(m node.RouterStatus) bool {
		return slices.ContainsFunc(m.Peers, func(p node.PeerStatus) bool { return p.Problem != "" })
	}
	if r.Config.Rejected != "" || r.Reexec != nil && r.Reexec.Refused != "" ||
		slices.ContainsFunc(r.Checks, func(c node.CheckReport) bool { return c.Known && !c.Healthy }) ||
		slices.ContainsFunc(r.Hooks, func(h node.HookReport) bool { return h.Error != "" }) ||
		slices.ContainsFunc(r.Node.Instances, func(i node.InstanceStatus) bool { return i.Unheeded != "" || slices.ContainsFunc(i.Routers, missing) }) {
		return exitLook
	}
	return exitOK
}

// instanceCode is what scripts ask for. A group holds its addresses if any of its instances does.
func instanceCode(r node.Report) int {
	state := r.Node.Instances[0].State
	if len(r.Node.Groups) > 0 {
		state = r.Node.Groups[0].State
	}
	holding := slices.ContainsFunc(r.Node.Instances, func(i node.InstanceStatus) bool { return i.Holding })
	switch {
	case state == node.Fault, len(r.Node.Drained) > 0 && !holding:
		return exitFault
	case state == node.Master, state == node.Leaving:
		return exitOK
	default:
		return exitBackup
	}
}
