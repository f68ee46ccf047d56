package pairtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// stopBound is how long a daemon may take to stop, hooks included.
const stopBound = 15 * time.Second

// Server is a host of the cluster.
type Server struct {
	*netlab.Host
	Nginx  *netlab.Nginx
	Daemon *netlab.Proc // nil until Start
	Run    string       // the runtime directory
	Inside *netlab.Link // its second interface, if the shape has it

	cluster *Cluster
	past    string // what earlier daemons said
}

// memoryDir makes a directory in memory, as /run is: what is written there stands between an election and the addresses.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "understudy-pairtest-")
	if err != nil {
		dir, err = os.MkdirTemp("", "understudy-pairtest-")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// ConfigFile is the host's configuration.
func (h *Server) ConfigFile() string { return filepath.Join(h.Dir(), "conf", "understudy.hcl") }

// Configure replaces the host's configuration in one step, as an editor does. A daemon that watches it reloads.
func (h *Server) Configure(t testing.TB, config string) {
	t.Helper()
	path := h.ConfigFile()
	text := h.cluster.replace.Replace(config)
	next := filepath.Join(filepath.Dir(path), ".next")
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(next, []byte(text), 0o600), os.Rename(next, path))
	if err != nil {
		t.Fatal(err)
	}
}

// Start starts the host's daemon.
func (h *Server) Start(t testing.TB) {
	t.Helper()
	h.StartBy(t)
}

// StartBy has another command start it, whose last arguments are the daemon's command line.
func (h *Server) StartBy(t testing.TB, starter ...string) {
	t.Helper()
	h.past = h.Log()
	var err error
	if h.Daemon, err = h.Host.Start(append(starter, h.command("run", "--config", h.ConfigFile(), "--node", h.Name())...)...); err != nil {
		t.Fatal(err)
	}
}

// StateDir is the daemon's directory of what outlives a reboot.
func (h *Server) StateDir() string { return filepath.Join(h.Dir(), "state") }

func (h *Server) command(args ...string) []string {
	return append(append([]string{h.cluster.program}, args...), "--runtime-dir", h.Run, "--state-dir", h.StateDir())
}

// Begins starts a command of understudy on the host, and does not wait for its end.
func (h *Server) Begins(t testing.TB, args ...string) *netlab.Proc {
	t.Helper()
	p, err := h.Host.Start(h.command(args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Understudy runs a command of understudy on the host, as an administrator would, and returns what it printed and its exit
// status.
func (h *Server) Understudy(t testing.TB, args ...string) (string, int) {
	t.Helper()
	out, err := h.Exec(t.Context(), h.command(args...)...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return out, exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out, 0
}

// Does runs a command of understudy that must exit with a status, and returns what it printed.
func (h *Server) Does(t testing.TB, status int, args ...string) string {
	t.Helper()
	out, code := h.Understudy(t, args...)
	if code != status {
		t.Errorf("understudy %q on %s exits %d, want %d: %s", args, h.Name(), code, status, out)
	}
	return out
}

// Stop stops the daemon as a service manager does. It must end with status 0.
func (h *Server) Stop(t testing.TB) {
	t.Helper()
	if err := h.Daemon.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.Ended(t)
}

// Ended waits until the daemon has ended, with status 0.
func (h *Server) Ended(t testing.TB) {
	t.Helper()
	labtest.Eventually(t, stopBound, func() (bool, string) {
		select {
		case <-h.Daemon.Done():
			return true, ""
		default:
			return false, "the daemon on " + h.Name() + " has not stopped"
		}
	})
	if err := h.Daemon.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// Log is all that the host's daemons said.
func (h *Server) Log() string {
	if h.Daemon == nil {
		return h.past
	}
	return h.past + h.Daemon.Output()
}

// Logged counts the matches in the host's log.
func (h *Server) Logged(pattern string) int {
	return len(regexp.MustCompile(pattern).FindAllString(h.Log(), -1))
}

// Says waits until the host's log has a match.
func (h *Server) Says(t testing.TB, pattern string, bound time.Duration) {
	t.Helper()
	h.SaysAgain(t, pattern, 0, bound)
}

// SaysAgain waits until the host's log has more than so many matches.
func (h *Server) SaysAgain(t testing.TB, pattern string, before int, bound time.Duration) {
	t.Helper()
	labtest.Eventually(t, bound, func() (bool, string) {
		return h.Logged(pattern) > before, fmt.Sprintf("the log of %s does not say %q more than %d times", h.Name(), pattern, before)
	})
}
