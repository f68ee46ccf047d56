package door

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/notify"
)

// realHelper serves each connection to a socket as the helper of a configuration.
type realHelper struct {
	*Door
	dir string // of the configuration, which only root can write

	mu     sync.Mutex // guards what follows
	helper Helper
	log    bytes.Buffer
}

// change changes what the next helper is.
func (h *realHelper) change(change func(*Helper)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.helper)
}

func (h *realHelper) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.Write(p)
}

func (h *realHelper) logged() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.String()
}

// newHelper has a configuration in which DIR stands for the directory.
func newHelper(t *testing.T, text string) *realHelper {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root, as the helper does; with CI set that is a failure")
		}
		t.Skip("needs root, as the helper does")
	}
	h := &realHelper{dir: commandtest.Dir(t)}
	h.helper = Helper{Paths: []string{h.dir}, Node: "lb1", DaemonUser: strconv.Itoa(daemonUID), Log: func(c config.Log) hclog.Logger {
		return hclog.New(&hclog.LoggerOptions{Output: h, DisableTime: true, Level: hclog.LevelFromString(c.Level)})
	}}
	h.write(t, "understudy.hcl", text)
	h.Door = fakeHelper(t, func(c *net.UnixConn) {
		h.mu.Lock()
		helper := h.helper
		h.mu.Unlock()
		if err := helper.Serve(context.Background(), c); err != nil {
			fmt.Fprintf(h, "serve: %v\n", err)
		}
	})
	return h
}

func (h *realHelper) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", h.dir)), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

const hooks = `
instance "web" {
  priority = env("NOT_HERE")   # the daemon's business
  auth {
    key "1" {
      file = "/nowhere"
    }
  }
}
notify "script" "tell" {
  on      = ["master", "stop"]
  command = ["DIR/tell", "one"]
}
notify "script" "slow" {
  on      = ["master"]
  command = ["DIR/slow"]
  timeout = "300ms"
}
notify "script" "long" {
  on      = ["master"]
  command = ["DIR/slow"]
}
notify "script" "deployed" {
  on      = ["master"]
  command = ["DIR/tell"]
  user    = "nobody"
}
check "script" "backends" {
  command = ["DIR/check"]
  user    = "games"
  timeout = "900ms"
}
check "script" "plain" {
  command = ["DIR/check"]
}
check "http" "site" {
  url = "http://127.0.0.1:1/"
}
`

// withScripts adds the programs that hooks and checks run.
func withScripts(t *testing.T, h *realHelper) *realHelper {
	t.Helper()
	commandtest.Script(t, h.dir, "tell", `echo "$(id -un) $*"; env | grep ^UNDERSTUDY_ | sort | head -n 3; exit ${TELL:-0}`)
	commandtest.Script(t, h.dir, "slow", `echo waiting; sleep 600 & echo $!; wait`)
	commandtest.Script(t, h.dir, "check", `id -un; [ $(id -u) != 0 ]`)
	return h
}

func hookText(d *Door, ctx context.Context, name string, state notify.State) string {
	o, err := d.Hook(ctx, name, become(state))
	return fmt.Sprintf("%s%v", o.Output, err)
}

func TestHelperRunsWhatTheConfigurationSays(t *testing.T) {
	h := withScripts(t, newHelper(t, hooks))
	env := "UNDERSTUDY_ADDRESSES=192.0.2.10 2001:db8::10\nUNDERSTUDY_GENERATION=7\nUNDERSTUDY_GROUP=\n"
	if diff := cmp.Diff("root one INSTANCE web MASTER 150\n"+env+"<nil>", hookText(h.Door, t.Context(), "tell", notify.Master)); diff != "" {
		t.Errorf("a hook without a user (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("nobody INSTANCE web MASTER 150\n"+env+"<nil>", hookText(h.Door, t.Context(), "deployed", notify.Master)); diff != "" {
		t.Errorf("a hook with a user (-want +got):\n%s", diff)
	}
	for name, user := range map[string]string{"backends": "games", "plain": "nobody"} {
		f, err := h.Check(t.Context(), name)
		if err != nil || f.Word != user || f.Output != user+"\n" {
			t.Errorf("check %q: %+v, %v; want it run as %s", name, f, err, user)
		}
	}
	t.Setenv("TELL", "3")
	_, err := h.Hook(t.Context(), "tell", become(notify.Master))
	if f, ok := errors.AsType[*Failure](err); !ok || f.Status != 3 || f.Reason != "exit status 3" {
		t.Errorf("%#v, want exit status 3", err)
	}
	if log := h.logged(); log != "" {
		t.Errorf("it logs what is as it should be:\n%s", log)
	}
	h.write(t, "conf.d/log.hcl", "log {\n  level = \"debug\"\n}\n")
	_, _ = h.Hook(t.Context(), "tell", become(notify.Stop))
	if log := h.logged(); !strings.Contains(log, `[DEBUG] ran: from="root (uid 0)" hook=tell instance=web state=stop took=`) || !strings.Contains(log, `status=3 error="exit status 3"`) {
		t.Errorf("the log of a run is\n%s", log)
	}
}

func TestHelperTimes(t *testing.T) {
	h := withScripts(t, newHelper(t, hooks))
	// gone wants the process that the script left to be gone.
	gone := func(output string) {
		t.Helper()
		lines := strings.Fields(output)
		if len(lines) < 2 {
			t.Fatalf("output %q", output)
		}
		there := func() bool {
			stat, err := os.ReadFile(filepath.Join("/proc", lines[1], "stat"))
			return err == nil && !strings.Contains(string(stat), ") Z ")
		}
		// A killed process takes its time to end on a busy machine.
		for deadline := time.Now().Add(2 * time.Second); there() && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		if there() {
			t.Errorf("process %s is still there", lines[1])
		}
	}
	t.Run("the configured timeout, however long the daemon waits", func(t *testing.T) {
		o, err := h.Hook(t.Context(), "slow", become(notify.Master))
		if err == nil || err.Error() != "timed out after 300ms" {
			t.Errorf("error %v", err)
		}
		gone(o.Output)
	})
	t.Run("the daemon's, if that is less", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		o, err := h.Hook(ctx, "long", become(notify.Master))
		if err == nil || err.Error() != "timed out after 700ms" {
			t.Errorf("error %v", err)
		}
		gone(o.Output)
	})
	t.Run("the end of the daemon's interest", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(500*time.Millisecond, func() { cancel(errors.New("the time for stop hooks is over")) })
		o, err := h.Hook(ctx, "long", become(notify.Master))
		if err == nil || err.Error() != "stopped: the time for stop hooks is over" {
			t.Errorf("error %v", err)
		}
		gone(o.Output)
	})
}

// TestHelperEndsWithTheDaemon: the connection breaks as it does when the daemon is killed.
func TestHelperEndsWithTheDaemon(t *testing.T) {
	h := withScripts(t, newHelper(t, hooks))
	h.write(t, "conf.d/more.hcl", `
notify "script" "mark" {
  on      = ["master"]
  command = ["/bin/sh", "-c", "echo $$ >DIR/pid; sleep 600"]
}
`)
	conn, err := net.Dial("unix", h.path)
	if err != nil {
		t.Fatal(err)
	}
	r := asked()
	r.Hook = "mark"
	if err := writeFrame(conn, r, maxRequest); err != nil {
		t.Fatal(err)
	}
	var pid int
	eventually(t, "the hook runs", func() bool {
		text, _ := os.ReadFile(filepath.Join(h.dir, "pid"))
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0
	})
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hook is killed", func() bool { return errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH) })
	if log := h.logged(); log != "" {
		t.Errorf("it logs what is as it should be:\n%s", log)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// TestTheLastHookOfWhatIsRemoved: the file names the instance no longer when it has handed over.
func TestTheLastHookOfWhatIsRemoved(t *testing.T) {
	h := withScripts(t, newHelper(t, hooks))
	removed := become(notify.Stop)
	removed.Instance, removed.MemberOf = "old", "edge"
	if o, err := h.Hook(t.Context(), "tell", removed); err != nil || !strings.Contains(o.Output, "INSTANCE old STOP 150") {
		t.Errorf("%q, %v", o.Output, err)
	}
}

// TestABrokenFileKeepsNoOtherHookFromRunning: somebody edits, and a master dies.
func TestABrokenFileKeepsNoOtherHookFromRunning(t *testing.T) {
	h := withScripts(t, newHelper(t, hooks))
	h.write(t, "conf.d/broken.hcl", "notify {{")
	for _, instance := range []string{"web", "there"} { // the file may name it
		m := become(notify.Master)
		m.Instance = instance
		if _, err := h.Hook(t.Context(), "tell", m); err != nil {
			t.Error(err)
		}
	}
}

func TestHelperReadsOnlyRequests(t *testing.T) {
	h := newHelper(t, hooks)
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "nothing was asked"},
		{"another protocol", "GET / HTTP/1.1\r\n\r\n", `read the request: it begins with "GET / HTTP/1.1\r", which is not understudy's`},
		{"a later version", "understudy-helper 2 x\n", "the daemon speaks version 2 of the helper's protocol, and this helper 1: they are of different releases of understudy; run: systemctl restart understudy"},
		{"a command", "understudy-helper 1 30\n" + `{"hook":"a","command":["/sh"]}`, `read the request: a message that is not understood: json: unknown field "command"`},
		{"a name that is a path", frame(t, request{Check: "../backends", TimeoutMS: 9}), `not a request of a daemon: "../backends" is no name of a hook or a check`},
		{"half a request", "understudy-helper 1 37\n{", "read the request: a message of 37 bytes: unexpected EOF"},
		{"an instance that is a word of a shell", frame(t, request{Hook: "tell", TimeoutMS: 1, Transition: &transition{Instance: "$(id)"}}),
			`not a request of a daemon: "$(id)" is no name of an instance or a group`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := net.Dial("unix", h.path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := c.Write([]byte(tt.text)); err != nil {
				t.Fatal(err)
			}
			_ = c.(*net.UnixConn).CloseWrite()
			var a answer
			if err := readFrame(bufio.NewReader(c), &a, maxAnswer); err != nil || a.Refused != tt.want {
				t.Errorf("%v, refused %q, want %q", err, a.Refused, tt.want)
			}
			if log := h.logged(); !strings.Contains(log, "refused: from=") {
				t.Errorf("the log is %q", log)
			}
		})
	}
}
