package daemon

import (
	"context"
	"strings"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
)

// systemd tells the service manager how the daemon is; without one it does nothing. What is told is sent by the watchdog's
// goroutine: a service manager that does not read its socket must not hold up a handover.
type systemd struct {
	log  hclog.Logger
	wake chan struct{}

	mu       sync.Mutex // guards what follows; never held while something is sent
	once     []string   // READY and STOPPING, each sent once
	line     string     // the status line of the instances
	rejected string     // why the newest configuration is not the running one; "" if it is
	sent     string     // the status line that the service manager has
}

func newSystemd(log hclog.Logger) *systemd { return &systemd{log: log, wake: make(chan struct{}, 1)} }

// ready says that the daemon takes part: units that wait for it may start.
func (s *systemd) ready(line string) {
	s.tell(func() { s.once, s.line = append(s.once, sd.SdNotifyReady), line })
}

// stopping says that the daemon is on its way out.
func (s *systemd) stopping(line string) {
	s.tell(func() { s.once, s.line = append(s.once, sd.SdNotifyStopping), line })
}

// status replaces the line of the instances.
func (s *systemd) status(line string) { s.tell(func() { s.line = line }) }

// rejects shows beside it that the newest configuration cannot be run, until why is empty again.
func (s *systemd) rejects(why string) { s.tell(func() { s.rejected = why }) }

// tell takes note of something; it never waits for the service manager.
func (s *systemd) tell(note func()) {
	s.mu.Lock()
	note()
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// message is what the service manager has not been told yet.
func (s *systemd) message() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.once
	s.once = nil
	status := s.line
	if s.rejected != "" {
		status += "; configuration rejected: " + s.rejected
	}
	if status != s.sent {
		s.sent = status
		lines = append(lines, "STATUS="+strings.ReplaceAll(status, "\n", " "))
	}
	return strings.Join(lines, "\n")
}

func (s *systemd) send(state string) {
	if state == "" {
		return
	}
	if _, err := sd.SdNotify(false, state); err != nil {
		s.log.Debug("tell the service manager", "error", err)
	}
}

// runWatchdog tells the service manager the news, and that the daemon is alive as long as the loop answers.
func (d *Daemon) runWatchdog(ctx context.Context) error {
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		d.log.Warn("WATCHDOG_USEC is not understood", "error", err)
	}
	var beat <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(max(every/3, time.Millisecond))
		defer ticker.Stop()
		beat = ticker.C
	}
	for {
		select {
		case <-d.systemd.wake:
			d.systemd.send(d.systemd.message())
		case <-beat:
			if d.alive(ctx, every/3) {
				d.systemd.send(sd.SdNotifyWatchdog)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// alive asks the loop for an answer within a bound. A loop that has ended as it should is not hung: what comes after it
// has bounds of its own.
func (d *Daemon) alive(ctx context.Context, bound time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	answer := make(chan struct{})
	select {
	case d.pings <- answer:
	case <-d.ended:
		return true
	case <-ctx.Done():
		return false
	}
	select {
	case <-answer:
		return true
	case <-d.ended:
		return true
	case <-ctx.Done():
		return false
	}
}
