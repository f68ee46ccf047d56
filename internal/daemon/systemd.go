package daemon

import (
	"context"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
)

// systemd tells the service manager how the daemon is; without one it does nothing.
type systemd struct {
	log  hclog.Logger
	line chan string // the newest status line
}

func newSystemd(log hclog.Logger) *systemd {
	return &systemd{log: log, line: make(chan string, 1)}
}

// ready says that the daemon takes part. It is sent at once: units that wait for us may start.
func (s *systemd) ready(status string) { s.send(sd.SdNotifyReady + "\nSTATUS=" + status) }

// stopping says that the daemon is on its way out.
func (s *systemd) stopping(status string) { s.send(sd.SdNotifyStopping + "\nSTATUS=" + status) }

// status replaces the line that waits to be sent; it never waits itself.
func (s *systemd) status(line string) {
	for {
		select {
		case s.line <- line:
			return
		default:
		}
		select {
		case <-s.line:
		default:
		}
	}
}

func (s *systemd) send(state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		s.log.Debug("tell the service manager", "error", err)
	}
}

// runWatchdog sends the status lines, and says that the daemon is alive as long as the loop answers.
func (d *Daemon) runWatchdog(ctx context.Context) error {
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		d.log.Warn("WATCHDOG_USEC is not understood", "error", err)
	}
	var beat <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(every / 3)
		defer ticker.Stop()
		beat = ticker.C
	}
	for {
		select {
		case line := <-d.systemd.line:
			d.systemd.send("STATUS=" + line)
		case <-beat:
			if d.alive(ctx, every/3) {
				d.systemd.send(sd.SdNotifyWatchdog)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// alive asks the loop for an answer within a bound.
func (d *Daemon) alive(ctx context.Context, bound time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	answer := make(chan struct{})
	select {
	case d.pings <- answer:
	case <-ctx.Done():
		return false
	}
	select {
	case <-answer:
		return true
	case <-ctx.Done():
		return false
	}
}
