package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/daemon"
)

// trialState is the descriptor of the state that a program on trial reads.
const trialState = 3

// reexecBound is how long reexec waits: longer than the daemon, which takes 26 s at most (a calm moment, the trial, the end of the
// monitors, the hooks, another calm moment: 5+6+2+8+5), and whose control socket gives an answer 30 s. Who gives up before would not
// know what came of it.
const reexecBound = 40 * time.Second

// reexecCommand exchanges the program of the running daemon.
func reexecCommand() *cobra.Command {
	var f hostFlags
	var trial bool
	cmd := &cobra.Command{
		Use:   "reexec",
		Short: "Have the running daemon become the installed version, without letting go of anything",
		Long: "Has the running daemon become the version that is installed by now, in the same process: the addresses and the mastership\n" +
			"stay, no advert is missed, and what the checks, hooks and administrators said is known further on. The new version first\n" +
			"shows that it can: it reads the daemon's state and the configuration. If it cannot, the daemon goes on as it was, and the\n" +
			"command exits 1 with the reason, which status shows too; then a restart of the daemon hands over, and takes the new version.\n\n" +
			"An older version that reads the same state is taken as well: who runs this command wants it. The packages do not run it\n" +
			"for an older one, which takes effect when the daemon is restarted.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if trial {
				return tryToGoOn(cmd, args)
			}
			if len(args) > 0 {
				return usageError{fmt.Errorf("reexec: unknown argument %q", args[0])}
			}
			return reexec(cmd, &f)
		},
	}
	f.addRuntimeDir(cmd)
	cmd.Flags().BoolVar(&trial, "trial", false, "")
	_ = cmd.Flags().MarkHidden("trial") // it exists
	return cmd
}

func reexec(cmd *cobra.Command, f *hostFlags) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), reexecBound)
	defer cancel()
	r, err := control.Dial(f.runtimeDir).Reexec(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		return err
	}
	if err != nil {
		return fmt.Errorf("the daemon goes on with version %s: %w", r.Version, err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "version %s goes on for version %s\n", r.Version, r.Reexec.From)
	return nil
}

// tryToGoOn is the trial: it says whether this version could go on for a daemon that was started with these arguments.
func tryToGoOn(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || args[0] != "run" {
		return usageError{errors.New("reexec --trial: the daemon's arguments are needed")}
	}
	var f runFlags
	run := &cobra.Command{Use: "run"}
	f.add(run)
	if err := run.ParseFlags(args[1:]); err != nil {
		return fmt.Errorf("the daemon was started with arguments that this version does not know: %w", err)
	}
	cfg, found := config.Load(f.config, f.configOptions())
	if cfg == nil {
		return fmt.Errorf("the configuration is not valid for this version:\n%s", found.Mistakes())
	}
	answer, err := daemon.Trial(os.NewFile(trialState, "state"), cfg, daemon.Options{
		Paths: f.config, Config: f.configOptions(), RuntimeDir: f.runtimeDir, StateDir: f.stateDir, Version: version(), Log: hclog.NewNullLogger(),
		Door: doorTo(f.helper),
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(cmd.OutOrStdout()).Encode(answer)
}
