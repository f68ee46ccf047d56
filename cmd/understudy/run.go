package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/daemon"
	"github.com/understudy-ha/understudy/internal/door"
	"github.com/understudy-ha/understudy/internal/linux"
)

// runFlags are those of run.
type runFlags struct {
	hostFlags
	shadow bool
	helper string
}

// add adds them to the command.
func (f *runFlags) add(cmd *cobra.Command) {
	f.addConfig(cmd)
	f.addNode(cmd)
	f.addDirs(cmd)
	cmd.Flags().BoolVar(&f.shadow, "shadow", false, "only watch, and log what it would do")
	cmd.Flags().StringVar(&f.helper, "helper", defaultHelper, "`socket` of the helper that runs hooks as root for a daemon that is not")
}

// configOptions is what the configuration depends on beside its files.
func (f *runFlags) configOptions() config.Options {
	return config.Options{Node: f.node, OnThisHost: true, Helper: f.helper}
}

// runCommand is the daemon.
func runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Long: "Runs the daemon in the foreground until SIGTERM or SIGINT, at which it hands its addresses over first.\n" +
			"A second signal ends it at once.\n\n" +
			"With --shadow it takes part as a silent observer, also beside keepalived or another understudy of this host: it listens,\n" +
			"runs the checks, and logs what it would do; it sends nothing, sets no address and runs no hook. Status shows what it\n" +
			"would be beside what this host's own adverts say. Beside an understudy it needs a --runtime-dir of its own.\n\n" +
			"A daemon that is not root has understudy helper run its hooks, and checks as other users, once --helper is there. From then\n" +
			"on a socket that is gone is a failure of what is to be run: it is not run as the daemon's user instead.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDaemon(cmd, &f) },
	}
	f.add(cmd)
	return cmd
}

// runDaemon loads the configuration, then runs until a signal.
func runDaemon(cmd *cobra.Command, f *runFlags) error {
	// From the first instant to the last: a hangup must neither end a daemon that starts nor one that hands over, and a log
	// that nobody reads any more (SIGPIPE) none at all.
	hangups, ignored := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	signal.Notify(ignored, syscall.SIGPIPE)
	defer signal.Stop(ignored)
	ctx, stop := untilSignal(cmd.Context())
	defer stop()

	program, err := linux.Program() // at once: a package may replace it
	if err != nil {
		return err
	}
	inherited, err := daemon.Inherit()
	if err != nil {
		return fmt.Errorf("go on for the program before this one: %w", err)
	}
	opts := f.configOptions()
	cfg, found := config.Load(f.config, opts)
	fmt.Fprint(cmd.ErrOrStderr(), found.Text())
	if cfg == nil {
		return errors.New("the configuration is not valid; nothing was started")
	}
	out := newLogWriter(cmd.ErrOrStderr())
	defer out.close()
	log := newLog(out, cfg.Log)
	takeLibraryLog(log)
	d, err := daemon.New(cfg, daemon.Options{
		Paths: f.config, Config: opts, RuntimeDir: f.runtimeDir, StateDir: f.stateDir, Version: version(), Log: log, Shadow: f.shadow,
		Door: doorTo(f.helper), Program: program, Flush: out.flush, Inherited: inherited,
		Serve: func(d *daemon.Daemon, steerGroup string) (daemon.Server, error) {
			s, err := serve(f.runtimeDir, steerGroup, d, inherited, log)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	})
	if err != nil {
		return err
	}
	started := "started"
	if inherited != nil {
		started = "started in the place of another version"
	}
	if f.shadow {
		started = "started as a shadow: nothing is sent, no address is set, no hook is run"
	}
	log.Info(started, "node", cfg.Node, "instances", len(cfg.Instances), "version", version())
	ended := make(chan struct{})
	var hangingUp sync.WaitGroup
	hangingUp.Go(func() { reloadOnHangup(hangups, ended, d) })
	defer hangingUp.Wait()
	defer close(ended)
	if err := d.Run(ctx); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// doorTo is the way to the helper; root has no need of it.
func doorTo(socket string) daemon.Door {
	if os.Geteuid() == 0 || socket == "" {
		return nil
	}
	return door.New(socket)
}

// serve opens the control socket, or goes on with that of the program before.
func serve(runtimeDir, steerGroup string, d *daemon.Daemon, inherited *daemon.Inherited, log hclog.Logger) (*control.Server, error) {
	if inherited != nil {
		return control.Inherit(inherited.Control, steerGroup, d)
	}
	return control.Listen(runtimeDir, steerGroup, d, func(most time.Duration) {
		log.Info("a cleanup of what the last daemon left is at work; it is waited for", "directory", runtimeDir, "at_most", most)
	})
}

// reloadOnHangup reloads at each SIGHUP until the daemon has ended; the daemon logs how it went.
func reloadOnHangup(hangups <-chan os.Signal, ended <-chan struct{}, d *daemon.Daemon) {
	for {
		select {
		case <-hangups:
			_, _ = d.Reload(context.Background()) // ends with the daemon
		case <-ended:
			return
		}
	}
}

// newLog makes the log. Under a service manager the journal has the time already, and takes each line's priority. Programs get microseconds: a move takes
// milliseconds.
func newLog(w io.Writer, c config.Log) hclog.Logger {
	stamp := "2006-01-02T15:04:05.000Z07:00"
	if c.Format == "json" {
		stamp = "2006-01-02T15:04:05.000000Z07:00"
	}
	journal := os.Getenv("JOURNAL_STREAM") != ""
	if journal {
		w = journalWriter{w}
	}
	return hclog.New(&hclog.LoggerOptions{
		Name: "understudy", Output: w, Level: hclog.LevelFromString(c.Level), JSONFormat: c.Format == "json",
		DisableTime: journal, TimeFormat: stamp,
	})
}

// untilSignal is done at the first signal that asks the daemon to end. The next one ends it at once: nothing is told of the first
// before the next one is no longer ours.
func untilSignal(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		defer close(done)
		var why error
		select {
		case s := <-signals:
			why = fmt.Errorf("signal: %s", s)
		case <-ctx.Done():
		}
		signal.Stop(signals)
		cancel(why)
	}()
	return ctx, func() { cancel(nil); <-done }
}
