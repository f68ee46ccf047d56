package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/netlab"
)

// demoBound ends a demo that hangs: it promises to take less than a minute.
const demoBound = 55 * time.Second

// demoOptions is what a demo runs.
type demoOptions struct {
	out       io.Writer
	daemon    func(h *netlab.Host, config string) []string // the daemon's command line on a host
	ownServer bool                                         // understudy's own HTTP server, even where nginx is
}

// demoCommand shows failover on this machine.
func demoCommand() *cobra.Command {
	var ownServer bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show failover on this machine, between two hosts in network namespaces",
		Long: "Makes two hosts and a client in network namespaces, runs nginx and understudy on both hosts, breaks them one way after\n" +
			"another, and shows what the client saw. It needs root, takes less than a minute, touches nothing of this machine's own\n" +
			"network and leaves nothing behind. Exits 0 only if every step did what it should.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			// With SIGPIPE caught, a reader that goes away (demo | head) ends the demo in order too.
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
			defer stop()
			return runDemo(ctx, demoOptions{
				out:       cmd.OutOrStdout(),
				ownServer: ownServer,
				daemon: func(h *netlab.Host, config string) []string {
					return []string{self, "run", "--config", config, "--node", h.Name(),
						"--runtime-dir", h.Dir() + "/run", "--state-dir", h.Dir() + "/state"}
				},
			})
		},
	}
	cmd.Flags().BoolVar(&ownServer, "without-nginx", false, "use an HTTP server of understudy's own, even where nginx is installed")
	cmd.AddCommand(demoServerCommand())
	return cmd
}

// runDemo makes the hosts, runs all steps until one is wrong, and removes the hosts.
func runDemo(ctx context.Context, opts demoOptions) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, demoBound, fmt.Errorf("the demo took longer than %v", demoBound))
	defer cancel()
	lab, err := netlab.New(ctx)
	if err != nil {
		return fmt.Errorf("make the demo's hosts: %w", err)
	}
	defer func() {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w; everything that the demo made is removed", context.Cause(ctx))
		}
		if cerr := lab.Close(); cerr != nil {
			err = errors.Join(err, fmt.Errorf("remove the demo's hosts: %w", cerr))
		}
	}()
	d, err := newDemo(ctx, lab, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	return d.run(ctx)
}

// run shows the steps, one after another.
func (d *demo) run(ctx context.Context) error {
	begin := time.Now()
	d.print.intro(d)
	steps := d.steps()
	var reports []demoReport
	for i, s := range steps {
		d.print.title(i+1, len(steps), s.title)
		r, err := d.perform(ctx, s)
		if err != nil {
			return fmt.Errorf("demo, step %d: %s: %w", i+1, s.title, err)
		}
		d.print.report(r)
		reports = append(reports, r)
		if len(r.wrong) > 0 {
			d.print.logs(d)
			return fmt.Errorf("demo, step %d did not do what it should: %s", i+1, s.title)
		}
	}
	d.print.summary(reports, time.Since(begin))
	return nil
}
