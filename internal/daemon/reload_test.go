package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// text is a configuration with a priority, and what else is written.
func text(priority int, more ...string) string {
	return fmt.Sprintf("instance \"web\" {\n  interface = \"eth0\"\n  vrid      = 71\n  priority  = %d\n  addresses = [\"192.0.2.10\"]\n}\n", priority) +
		strings.Join(more, "\n")
}

const (
	tcpCheck  = "check \"tcp\" \"listener\" {\n  address = \"127.0.0.1:1\"\n}\n"
	slowCheck = "check \"tcp\" \"listener\" {\n  address = \"127.0.0.1:1\"\n  interval = \"5s\"\n}\n"
	badText   = "instance \"web\" {\n  vrid = 300\n"
)

// logs is a log that a test reads while it is written.
type logs struct {
	mu sync.Mutex // guards what follows
	b  strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// reloading is a daemon without a loop: the test is the loop.
type reloading struct {
	*Daemon
	log *logs
}

func newReloading(t *testing.T, path string) *reloading {
	t.Helper()
	opts := config.Options{Node: "lb1", OnThisHost: true}
	cfg, found := config.Load([]string{path}, opts)
	if cfg == nil {
		t.Fatal(found.Text())
	}
	dir, err := os.MkdirTemp("", "rl") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &reloading{log: &logs{}}
	log := hclog.New(&hclog.LoggerOptions{Output: r.log, DisableTime: true})
	r.Daemon = newDaemon(cfg, Options{Paths: []string{path}, Config: opts, RuntimeDir: dir, Log: log})
	if err := r.prepare(cfg); err != nil {
		t.Fatal(err)
	}
	if r.control, err = control.Listen(dir, cfg.Control.SteerGroup, r, nil); err != nil {
		t.Fatal(err)
	}
	if r.watcher, err = linux.OpenWatcher(r.wanted(), r.virtual); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	r.addresses = newAddressSetter(&fakeKernel{}, r.post, log)
	r.addresses.lookAt = r.lookAt
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { // in the place of the sockets
		for {
			select {
			case followed := <-r.changes:
				close(followed)
			case <-ctx.Done():
				return
			}
		}
	})
	tasks.Go(func() { _ = r.addresses.run(ctx) })
	tasks.Go(func() { _ = r.runReload(ctx) })
	t.Cleanup(func() {
		cancel()
		tasks.Wait()
	})
	return r
}

// write replaces a file's content in place.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload asks for a reload and waits for its end.
func (r *reloading) ask(t *testing.T) (node.Reloaded, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	return r.Reload(ctx)
}

func (r *reloading) priority() int { return int(r.cfg.Load().Instances[0].Priority) }

// eventually waits for a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(bound); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", bound, what)
		}
	}
}

// noWatch turns the watching off, so that only the test reloads.
const noWatch = "reload {\n  watch = false\n}\n"

func TestReloadUnchanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "understudy.hcl")
	write(t, path, text(150, noWatch))
	r := newReloading(t, path)
	before := r.cfg.Load()
	write(t, path, "# only a comment\n"+text(150, noWatch))
	got, err := r.ask(t)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(node.Reloaded{Summary: "unchanged"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before.Instances, r.cfg.Load().Instances, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" || len(r.events) > 0 {
		t.Errorf("something was done about a configuration that did not change: %d events\n%s", len(r.events), diff)
	}
}

func TestReloadChanged(t *testing.T) {
	hook := "notify \"script\" \"tell\" {\n  on = [\"master\"]\n  command = [\"/bin/true\"]\n}\n"
	tests := []struct {
		name, from, to string
		want           string
		events         int // what the node is told
	}{
		{"an instance", text(150, noWatch), text(120, noWatch), "instance web changed", 1},
		{"a check", text(150, noWatch, tcpCheck), text(150, noWatch, slowCheck), "check listener changed", 1},
		{"a new check", text(150, noWatch), text(150, noWatch, tcpCheck), "instance web changed, check listener added", 1},
		{"a hook", text(150, noWatch), text(150, noWatch, hook), "notify tell added", 1},
		{"the log", text(150, noWatch), text(150, noWatch, "log {\n  level = \"debug\"\n}\n"), "log changed", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "understudy.hcl")
			write(t, path, tt.from)
			r := newReloading(t, path)
			write(t, path, tt.to)
			got, err := r.ask(t)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(node.Reloaded{Changed: true, Summary: tt.want}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := len(r.events); n != tt.events {
				t.Errorf("the node is told %d things, want %d", n, tt.events)
			}
			if again, err := r.ask(t); err != nil || again.Changed {
				t.Errorf("the second time: %+v, %v", again, err)
			}
			if !strings.Contains(r.log.String(), "configuration reloaded: why=\"asked for\" changes=") {
				t.Errorf("the log does not say what changed:\n%s", r.log)
			}
		})
	}
}

func TestReloadRejected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "understudy.hcl")
	write(t, path, text(150, noWatch))
	r := newReloading(t, path)
	before := r.cfg.Load()
	write(t, path, badText)
	for range 2 {
		_, err := r.ask(t)
		if err == nil || !strings.Contains(err.Error(), path+":") {
			t.Fatalf("error %v; want the place", err)
		}
		if got := r.loaded.Load().Rejected; got != err.Error() {
			t.Errorf("status says %q, want %q", got, err)
		}
	}
	if r.cfg.Load() != before || len(r.events) > 0 {
		t.Error("something was done about a configuration that is not valid")
	}
	if n := r.rejections(); n != 2 {
		t.Errorf("who asked twice is told %d times:\n%s", n, r.log)
	}
	if m := r.systemd.message(); !strings.Contains(m, "configuration rejected: "+path+":") {
		t.Errorf("the service manager is told %q", m)
	}
	write(t, path, text(150, noWatch))
	if got, err := r.ask(t); err != nil || got.Changed {
		t.Errorf("the old text again: %+v, %v", got, err)
	}
	if got := r.loaded.Load().Rejected; got != "" {
		t.Errorf("status still says %q", got)
	}
	if m := r.systemd.message(); strings.Contains(m, "rejected") || m == "" {
		t.Errorf("the service manager is told %q", m)
	}
}

// rejections counts those that the log tells of.
func (r *reloading) rejections() int {
	return strings.Count(r.log.String(), "configuration rejected; the running one goes on")
}

// A mistake that was logged when its file changed is logged again when somebody asks, as by a SIGHUP, which has no other answer.
func TestWhoAsksIsToldAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "understudy.hcl")
	write(t, path, text(150))
	r := newReloading(t, path)
	for range 2 {
		write(t, path, badText)
		eventually(t, "the mistake is seen", func() bool { return r.loaded.Load().Rejected != "" })
		time.Sleep(2 * settled) // the second time is read as well
	}
	if n := r.rejections(); n != 1 {
		t.Errorf("the same mistake is logged %d times unasked:\n%s", n, r.log)
	}
	if _, err := r.ask(t); err == nil || r.rejections() != 2 {
		t.Errorf("asked: %v, and the log says\n%s", err, r.log)
	}
	write(t, path, text(150))
	eventually(t, "its end is logged", func() bool {
		return strings.Contains(r.log.String(), "configuration unchanged: why=\"a file changed\"")
	})
}

// What there is to say of a valid configuration is logged once, not again because its line moved.
func TestFindingsOfAReloadAreLogged(t *testing.T) {
	addresses := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("\"192.0.2.%d\"", i+1))
		}
		return strings.Replace(text(150, noWatch), `"192.0.2.10"`, strings.Join(list, ", "), 1)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "understudy.hcl")
	write(t, path, addresses(64))
	write(t, filepath.Join(dir, "conf.d", "empty.hcl"), "")
	r := newReloading(t, dir)
	for _, step := range []struct {
		name, text, more string // more: another file beside the main one
		notes, warnings  int    // in the log by then
	}{
		{"as it was", addresses(64), "", 0, 0},
		{"one address more", addresses(65), "", 1, 0},
		{"a line above", "# web\n" + addresses(65), "", 1, 0},
		{"a file that is not read", "# web\n" + addresses(65), "web.hcl", 1, 1},
		{"the same again", addresses(65), "", 1, 1},
		{"without", addresses(64), "", 1, 1},
		{"and back", addresses(65), "", 2, 1},
	} {
		write(t, path, step.text)
		if step.more != "" {
			write(t, filepath.Join(dir, step.more), "")
		}
		if _, err := r.ask(t); err != nil {
			t.Fatal(err)
		}
		log := r.log.String()
		if n := strings.Count(log, "has no lease: this host has 65 addresses, more than 64"); n != step.notes {
			t.Errorf("%s: the lease is told of %d times, want %d:\n%s", step.name, n, step.notes, log)
		}
		if n := strings.Count(log, "warning: this file is not read"); n != step.warnings {
			t.Errorf("%s: the file is told of %d times, want %d:\n%s", step.name, n, step.warnings, log)
		}
	}
}

func TestReloadOfAMissingFileIsRejected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "understudy.hcl")
	write(t, path, text(150, noWatch))
	r := newReloading(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ask(t); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("error %v", err)
	}
	if r.priority() != 150 {
		t.Error("the running configuration is gone with the file")
	}
}

func TestReloadAfterTheEnd(t *testing.T) {
	d := newDaemon(&config.Config{Node: "lb1"}, Options{Log: hclog.NewNullLogger()})
	close(d.ended)
	if _, err := d.Reload(t.Context()); err == nil || err.Error() != "the daemon stops" {
		t.Errorf("error %v", err)
	}
}

func TestCheckThatCannotBeMadeIsSaidWithItsPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "understudy.hcl")
	write(t, path, text(150, noWatch))
	r := newReloading(t, path)
	write(t, path, text(150, noWatch, "check \"http\" \"page\" {\n  url = \"https://127.0.0.1/\"\n  ca_file = \"/nonexistent/ca.pem\"\n}\n"))
	if _, err := r.ask(t); err == nil || !strings.Contains(err.Error(), path+":") {
		t.Errorf("error %v; want the place", err)
	}
	if r.loaded.Load().Rejected == "" || len(r.cfg.Load().Checks) != 0 {
		t.Error("half of the configuration was applied")
	}
}
