package daemon

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
)

// bound is how long a test waits for what should come at once.
const bound = 10 * time.Second

// serviceManager is a socket such as systemd has, where the daemon tells how it is.
func serviceManager(t *testing.T) (told func() string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		t.Helper()
		buffer := make([]byte, 4096)
		_ = c.SetReadDeadline(time.Now().Add(bound))
		n, err := c.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return string(buffer[:n])
	}
}

// watched runs the watchdog of a daemon without a loop.
func watched(t *testing.T) *Daemon {
	t.Helper()
	d := newDaemon(&config.Config{Node: "lb1"}, Options{Log: hclog.NewNullLogger()})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.runWatchdog(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestServiceManagerIsTold(t *testing.T) {
	told := serviceManager(t)
	d := watched(t)
	steps := []struct {
		do   func()
		want string
	}{
		{func() { d.systemd.ready("web: init") }, "READY=1\nSTATUS=web: init"},
		{func() { d.systemd.status("web: backup") }, "STATUS=web: backup"},
		{func() { d.systemd.rejects("a.hcl:3:1: error: vrid is 300") }, "STATUS=web: backup; configuration rejected: a.hcl:3:1: error: vrid is 300"},
		{func() { d.systemd.status("web: master") }, "STATUS=web: master; configuration rejected: a.hcl:3:1: error: vrid is 300"},
		{func() { d.systemd.rejects("") }, "STATUS=web: master"},
		{func() { d.systemd.stopping("handing over\nREADY=1") }, "STOPPING=1\nSTATUS=handing over READY=1"},
	}
	for _, s := range steps {
		s.do()
		if diff := cmp.Diff(s.want, told()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	}
}

func TestManyNewsAreOneMessage(t *testing.T) {
	s := newSystemd(hclog.NewNullLogger())
	s.ready("web: init")
	for range 10000 { // nobody sends: nothing waits, nothing grows
		s.status("web: backup")
	}
	s.status("web: master")
	if got, want := s.message(), "READY=1\nSTATUS=web: master"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	if got := s.message(); got != "" {
		t.Errorf("told twice: %q", got)
	}
}

func TestWatchdogBeatsOnlyWhileTheLoopAnswers(t *testing.T) {
	told := serviceManager(t)
	t.Setenv("WATCHDOG_USEC", "150000")
	t.Setenv("WATCHDOG_PID", "")
	_ = os.Unsetenv("WATCHDOG_PID")
	d := watched(t)
	for range 3 {
		close(<-d.pings)
		if got := told(); got != "WATCHDOG=1" {
			t.Errorf("told %q", got)
		}
	}
	<-d.pings // the loop took the question, and hangs
	d.systemd.status("after the question")
	if got := told(); got != "STATUS=after the question" {
		t.Errorf("a loop that hangs counts as alive: %q", got)
	}
	close(d.ended) // a loop that ended is no loop that hangs
	if got := told(); got != "WATCHDOG=1" {
		t.Errorf("told %q", got)
	}
}

func TestAlive(t *testing.T) {
	tests := []struct {
		name string
		loop func(d *Daemon)
		want bool
	}{
		{"a loop that answers", func(d *Daemon) { close(<-d.pings) }, true},
		{"a loop that takes no question", func(*Daemon) {}, false},
		{"a loop that answers too late", func(d *Daemon) {
			answer := <-d.pings
			time.Sleep(2 * time.Second)
			close(answer)
		}, false},
		{"a loop that has ended", func(d *Daemon) { close(d.ended) }, true},
		{"a loop that ends meanwhile", func(d *Daemon) {
			<-d.pings
			close(d.ended)
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &Daemon{pings: make(chan chan<- struct{}), ended: make(chan struct{})}
				go tt.loop(d)
				if got := d.alive(t.Context(), time.Second); got != tt.want {
					t.Errorf("alive is %t", got)
				}
				time.Sleep(time.Minute) // the loop ends before its bubble
			})
		})
	}
}

func TestWithoutAServiceManagerNothingIsSent(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	var log strings.Builder
	s := newSystemd(hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Debug}))
	s.ready("web: init")
	s.send(s.message())
	if log.Len() > 0 {
		t.Errorf("it complains: %s", log.String())
	}
}
