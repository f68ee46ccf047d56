package control

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/understudy-ha/understudy/internal/node"
)

func TestReportArrivesAsItWasMade(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 250, time.UTC)
	want := node.Report{
		Version: "1.2.3", PID: 4711, Started: at,
		Node: &node.Status{Node: "lb1", At: at, Instances: []node.InstanceStatus{{
			Name: "web", Interface: "eth0", VRID: 71, State: node.Master, Since: at, Why: "no other master", Priority: 150,
			Terms: []node.Term{{What: "base", Value: 150}}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")}, Holding: true,
		}}},
		Checks: []node.CheckReport{{Name: "nginx", Kind: "http", Known: true, Healthy: true, Reason: "200 OK", At: at, Took: 3 * time.Millisecond}},
		Hooks:  []node.HookReport{{Name: "tell", Instance: "web", State: "master", At: at, Took: time.Second, Error: "exit status 3"}},
		Config: node.ConfigReport{Paths: []string{"/etc/understudy"}, Loaded: at, Rejected: "x.hcl:1:1: error: no", Since: at},
	}
	dir := runtimeDir(t)
	serve(t, dir, "", &fakeDaemon{report: func() node.Report { return want }})
	got, err := Dial(dir).Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Addresses that are not set come back as such; nothing else may differ.
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestSteeringReachesTheDaemon(t *testing.T) {
	var asked []string
	d := &fakeDaemon{
		report: func() node.Report { return node.Report{Node: &node.Status{Drained: []string{"admin"}}} },
		drain: func(_ context.Context, name string) (node.Drained, error) {
			asked = append(asked, "drain "+name)
			return node.Drained{Moved: []string{"web"}, Kept: []string{"mail"}, Unsaved: "disk full"}, nil
		},
		undrain: func(_ context.Context, name string) error {
			asked = append(asked, "undrain "+name)
			return nil
		},
		reload: func(context.Context) (node.Reloaded, error) {
			asked = append(asked, "reload")
			return node.Reloaded{Changed: true, Summary: "check nginx changed"}, nil
		},
	}
	dir := runtimeDir(t)
	serve(t, dir, "", d)
	c := Dial(dir)
	drained, err := c.Drain(t.Context(), "a name/with ?&= in it")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(node.Drained{Moved: []string{"web"}, Kept: []string{"mail"}, Unsaved: "disk full"}, drained); diff != "" {
		t.Errorf("drained (-want +got):\n%s", diff)
	}
	for _, name := range []string{"admin", "bogus"} {
		if u, err := c.Undrain(t.Context(), name); err != nil || u.Unknown != (name == "bogus") {
			t.Errorf("undrain for %s: %+v, %v", name, u, err)
		}
	}
	reloaded, err := c.Reload(t.Context())
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(node.Reloaded{Changed: true, Summary: "check nginx changed"}, reloaded); diff != "" {
		t.Errorf("reloaded (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"drain a name/with ?&= in it", "undrain admin", "undrain bogus", "reload"}, asked); diff != "" {
		t.Errorf("asked of the daemon (-want +got):\n%s", diff)
	}
}

func TestErrorsOfTheDaemonReachTheClientInItsWords(t *testing.T) {
	const words = "a.hcl:3:1: error: vrid is 300; allowed: 1..255\n    3 | vrid = 300"
	dir := runtimeDir(t)
	serve(t, dir, "", &fakeDaemon{
		drain:   func(context.Context, string) (node.Drained, error) { return node.Drained{}, errors.New(words) },
		undrain: func(context.Context, string) error { return errors.New(words) },
		reload:  func(context.Context) (node.Reloaded, error) { return node.Reloaded{}, errors.New(words) },
	})
	c := Dial(dir)
	_, drainErr := c.Drain(t.Context(), "admin")
	_, reloadErr := c.Reload(t.Context())
	_, undrainErr := c.Undrain(t.Context(), "admin")
	for what, err := range map[string]error{"drain": drainErr, "undrain": undrainErr, "reload": reloadErr} {
		if err == nil || err.Error() != words {
			t.Errorf("%s: error %q, want %q", what, err, words)
		}
		if errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: the error counts as not running", what)
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	dir := runtimeDir(t)
	serve(t, dir, "", &fakeDaemon{})
	tests := []struct {
		name, method, path string
		want               int
	}{
		{"a path that is not there", "GET", "/v1/nothing", http.StatusNotFound},
		{"a path without version", "GET", "/status", http.StatusNotFound},
		{"steering by GET", "GET", "/v1/drain?for=admin", http.StatusMethodNotAllowed},
		{"status by POST", "POST", "/v1/status", http.StatusMethodNotAllowed},
		{"a drain without a name", "POST", "/v1/drain", http.StatusUnprocessableEntity},
		{"an undrain without a name", "POST", "/v1/undrain?for=", http.StatusUnprocessableEntity},
		{"a name that is too long", "POST", "/v1/drain?for=" + strings.Repeat("x", maxName+1), http.StatusUnprocessableEntity},
		{"a huge name", "POST", "/v1/drain?for=" + strings.Repeat("x", 1<<20), http.StatusRequestHeaderFieldsTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://understudy"+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := Dial(dir).http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if resp.StatusCode != tt.want {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.want)
			}
			// The server closes on a request that it does not read to the end.
			if b, _ := io.ReadAll(resp.Body); len(b) > 4096 {
				t.Errorf("the answer has %d bytes; it should be short", len(b))
			}
		})
	}
}

func TestErrNotRunning(t *testing.T) {
	tests := []struct {
		name string
		dir  func(t *testing.T) string
	}{
		{"no such directory", func(t *testing.T) string { return filepath.Join(runtimeDir(t), "missing") }},
		{"no socket", runtimeDir},
		{"a socket that a dead daemon left", staleSocket},
		{"after the daemon stopped", func(t *testing.T) string {
			dir := runtimeDir(t)
			_, stop := serve(t, dir, "", &fakeDaemon{})
			stop()
			return dir
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := tt.dir(t)
			_, err := Dial(dir).Report(t.Context())
			if !errors.Is(err, ErrNotRunning) {
				t.Fatalf("error %v, want ErrNotRunning", err)
			}
			if !strings.Contains(err.Error(), filepath.Join(dir, socketName)) {
				t.Errorf("the error %q does not name the socket", err)
			}
		})
	}
}

// staleSocket makes a directory with the socket of a daemon that was killed.
func staleSocket(t *testing.T) string {
	t.Helper()
	dir := runtimeDir(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, socketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestStaleSocketIsReplaced(t *testing.T) {
	dir := staleSocket(t)
	_, stop := serve(t, dir, "", &fakeDaemon{})
	if _, err := Dial(dir).Report(t.Context()); err != nil {
		t.Error(err)
	}
	stop()
	if !gone(dir) {
		t.Error("the socket is still there after the end")
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	dir := runtimeDir(t)
	_, stop := serve(t, dir, "", &fakeDaemon{})
	_, err := Listen(dir, "", &fakeDaemon{}, nil)
	if want := "another daemon runs with the runtime directory " + dir + ": stop that one first"; err == nil || err.Error() != want {
		t.Fatalf("error %v, want %q", err, want)
	}
	if _, err := Dial(dir).Report(t.Context()); err != nil {
		t.Errorf("the first daemon answers no longer: %v", err)
	}
	stop()
	s, err := Listen(dir, "", &fakeDaemon{}, nil)
	if err != nil {
		t.Fatalf("the directory is not free after the first daemon's end: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestDyingDaemonIsWaitedFor: a daemon that was killed has the lock until the last of its threads has ended, and a cleanup by hand comes at once.
func TestDyingDaemonIsWaitedFor(t *testing.T) {
	dir := runtimeDir(t)
	held, err := lockDir(dir, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	time.AfterFunc(dyingBound/5, func() { ended <- held.Close() })
	lock, err := Lock(dir)
	if err := errors.Join(err, <-ended); err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
}

// A daemon that was stopped by SIGSTOP, or whose queue is full, is alive although it answers nobody.
func TestSecondDaemonIsRefusedWhileTheFirstDoesNotAnswer(t *testing.T) {
	dir := runtimeDir(t)
	s, err := Listen(dir, "", &fakeDaemon{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := os.Remove(filepath.Join(dir, socketName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(dir, "", &fakeDaemon{}, nil); err == nil {
		t.Fatal("a second daemon has the directory of one that is alive")
	}
	if !gone(dir) {
		t.Error("the second daemon made a socket before it gave up")
	}
}

func TestListenErrorsSayWhatToDo(t *testing.T) {
	file := filepath.Join(runtimeDir(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(runtimeDir(t), strings.Repeat("d", maxPath))
	taken := runtimeDir(t)
	if err := os.MkdirAll(filepath.Join(taken, socketName, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, dir, want string }{
		{"a file in the directory's place", file, "make runtime directory: mkdir " + file + ": not a directory"},
		{"a path that is too long for a socket", long, "the path of a socket has at most 107 bytes; use a shorter --runtime-dir"},
		{"a directory in the socket's place", taken, "control socket: remove " + taken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Listen(tt.dir, "", &fakeDaemon{}, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q in it", err, tt.want)
			}
			// What was taken is given back.
			if lock, err := lockDir(tt.dir, 0, nil); err == nil {
				_ = lock.Close()
			} else if tt.dir != file {
				t.Errorf("the directory stays locked: %v", err)
			}
		})
	}
}

func TestSocketIsClosedToOthers(t *testing.T) {
	dir := filepath.Join(runtimeDir(t), "made/by/listen")
	serve(t, dir, "", &fakeDaemon{})
	info, err := os.Stat(filepath.Join(dir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != os.ModeSocket|0o660 {
		t.Errorf("mode %s, want %s", got, os.ModeSocket|0o660)
	}
}
