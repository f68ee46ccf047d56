package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/daemon"
)

// cleanupCommand is what a service manager runs after the daemon ended, however it ended.
func cleanupCommand() *cobra.Command {
	var f hostFlags
	var all bool
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Hand over the addresses that a dead daemon left behind",
		Long: "Hands over the addresses that a daemon which died left behind, as the daemon would have done at its stop. Addresses that\n" +
			"nobody takes stay for 10 s, in which a restarted daemon adopts them. After a clean stop there is nothing to do, nor\n" +
			"where no daemon has run with the runtime directory. A daemon that is started meanwhile waits for the end.\n" +
			"At SIGTERM or SIGINT it releases what is left and ends. Killed, it leaves that for 2 s, or without a lease for as long as it\n" +
			"might have worked. It is meant for a unit's ExecStopPost.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ignored := make(chan os.Signal, 1) // neither a terminal that is gone nor a log that nobody reads ends a handover
			signal.Notify(ignored, syscall.SIGHUP, syscall.SIGPIPE)
			defer signal.Stop(ignored)
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			if !all && !daemon.HasRun(f.runtimeDir) {
				fmt.Fprintf(cmd.OutOrStdout(), "no daemon has run with the runtime directory %s: nothing to clean up after\n", f.runtimeDir)
				return nil
			}
			lock, err := control.Lock(f.runtimeDir)
			if err != nil {
				return fmt.Errorf("cleanup: %w", err)
			}
			defer func() { _ = lock.Close() }()
			_ = os.Unsetenv("NOTIFY_SOCKET") // the service manager listens to the daemon, not to us
			done, err := daemon.Cleanup(ctx, daemon.Options{
				RuntimeDir: f.runtimeDir, StateDir: f.stateDir, Version: version(), All: all,
				Log: newLog(cmd.ErrOrStderr(), config.Log{Level: "info", Format: "text"}),
			})
			if err != nil {
				return fmt.Errorf("cleanup: %w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), done)
			return nil
		},
	}
	f.addDirs(cmd)
	f.takeDaemons(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "also remove every address that bears understudy's mark, whatever daemon set it: for when the package goes")
	return cmd
}
