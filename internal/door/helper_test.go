package door

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
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
	Helper
	mu  sync.Mutex // guards what follows
	log bytes.Buffer
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
	h.Helper = Helper{Paths: []string{h.dir}, Node: "lb1", DaemonUser: strconv.Itoa(daemonUID), Log: func(c config.Log) hclog.Logger {
		return hclog.New(&hclog.LoggerOptions{Output: h, DisableTime: true, Level: hclog.LevelFromString(c.Level)})
	}}
	h.write(t, "understudy.hcl", text)
	h.Door = fakeHelper(t, func(c *net.UnixConn) {
		if err := h.Serve(context.Background(), c); err != nil {
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
		stat, err := os.ReadFile(filepath.Join("/proc", lines[1], "stat"))
		if err == nil && !strings.Contains(string(stat), ") Z ") {
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
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestHelperRefuses(t *testing.T) {
	chmod := func(t *testing.T, path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	hook := func(name string, state notify.State) func(*realHelper, context.Context) error {
		return func(h *realHelper, ctx context.Context) error {
			_, err := h.Hook(ctx, name, become(state))
			return err
		}
	}
	check := func(name string) func(*realHelper, context.Context) error {
		return func(h *realHelper, ctx context.Context) error {
			_, err := h.Check(ctx, name)
			return err
		}
	}
	tests := []struct {
		name    string
		prepare func(*testing.T, *realHelper)
		ask     func(*realHelper, context.Context) error
		want    string // DIR stands for the directory
		run     bool   // refused by the run, not before it
	}{
		{name: "a hook that there is not", ask: hook("tel", notify.Master), want: `the configuration of this host has no notify named "tel"; did you mean "tell"?`},
		{name: "a check that there is not", ask: check("tell"), want: `the configuration of this host has no check named "tell"`},
		{
			name: "a hook for another state", ask: hook("tell", notify.Backup),
			want: `notify "tell" is not for "backup" of "web" in the configuration of this host; if that changed, run: understudy reload`,
		},
		{name: "a check that runs no command", ask: check("site"), want: `check "site" runs no command, so that it needs no helper`},
		{
			name: "another node", ask: hook("tell", notify.Master), want: `the daemon is node "lb1", and this helper "lb2"; give both the same --node`,
			prepare: func(_ *testing.T, h *realHelper) { h.Helper.Node = "lb2" },
		},
		{
			name: "no configuration", ask: check("plain"), want: `no check named "plain" can be read: error: DIR/none does not exist`,
			prepare: func(_ *testing.T, h *realHelper) { h.Paths = []string{h.dir + "/none"} },
		},
		{
			name: "a configuration that everybody can write", ask: hook("tell", notify.Master),
			prepare: func(t *testing.T, h *realHelper) { chmod(t, h.dir+"/understudy.hcl", 0o646) },
			want:    "DIR/understudy.hcl is unsafe to trust: everybody may write to DIR/understudy.hcl (mode 0646); chmod o-w DIR/understudy.hcl",
		},
		{
			name: "another file of it that its group can write", ask: hook("tell", notify.Master),
			prepare: func(t *testing.T, h *realHelper) { chmod(t, h.write(t, "conf.d/log.hcl", "log {\n}\n"), 0o660) },
			want:    "DIR/conf.d/log.hcl is unsafe to trust: group root may write to DIR/conf.d/log.hcl (mode 0660); chmod g-w DIR/conf.d/log.hcl",
		},
		{
			name: "a directory of it that the daemon can write", ask: hook("tell", notify.Master),
			prepare: func(t *testing.T, h *realHelper) {
				h.write(t, "conf.d/.hidden", "")
				if err := os.Chown(h.dir+"/conf.d", 65534, 0); err != nil {
					t.Fatal(err)
				}
			},
			want: "DIR/conf.d is unsafe to trust: DIR/conf.d (mode 0755) belongs to nobody, not to root; chown root DIR/conf.d",
		},
		{
			name: "a directory above", ask: check("plain"),
			prepare: func(t *testing.T, h *realHelper) { chmod(t, h.dir, 0o777|os.ModeSticky) },
			want:    "DIR is unsafe to trust: everybody may write to DIR (mode 1777); keep it where only root can write, such as /etc/understudy",
		},
		{
			name: "a file that an expression reads", ask: hook("read", notify.Master),
			prepare: func(t *testing.T, h *realHelper) {
				h.write(t, "conf.d/read.hcl", "notify \"script\" \"read\" {\n  on = [\"master\"]\n  command = [file(\"which\")]\n}\n")
				chmod(t, h.write(t, "conf.d/which", "DIR/tell"), 0o666)
			},
			want: "DIR/conf.d/which is unsafe to trust: everybody may write to DIR/conf.d/which (mode 0666); chmod go-w DIR/conf.d/which",
		},
		{
			name: "a script that everybody can write", ask: hook("tell", notify.Master), run: true,
			prepare: func(t *testing.T, h *realHelper) { chmod(t, h.dir+"/tell", 0o757) },
			want:    "DIR/tell is unsafe to run: everybody may write to DIR/tell (mode 0757); chmod o-w DIR/tell",
		},
		{
			name: "a script that the user can write who runs it", ask: hook("deployed", notify.Master), run: true,
			prepare: func(t *testing.T, h *realHelper) {
				if err := os.Chown(h.dir+"/tell", 65534, -1); err != nil {
					t.Fatal(err)
				}
			},
			want: "DIR/tell is unsafe to run: DIR/tell (mode 0755) belongs to nobody, not to root; only what nobody else can replace is run through the helper; chown root DIR/tell",
		},
		{
			name: "a mistake in the block itself", ask: hook("tell", notify.Master),
			prepare: func(t *testing.T, h *realHelper) {
				h.write(t, "understudy.hcl", "notify \"script\" \"tell\" {\n  on = [\"master\"]\n  command = []\n}\n")
			},
			want: "DIR/understudy.hcl:3:13: error: command is empty; write the program and its arguments as a list of strings",
		},
		{
			name: "the same name twice", ask: check("plain"),
			prepare: func(t *testing.T, h *realHelper) {
				h.write(t, "conf.d/twice.hcl", "check \"tcp\" \"plain\" {\n  address = \"127.0.0.1:1\"\n}\n")
			},
			want: `DIR/conf.d/twice.hcl:1:1: error: check "plain" is declared twice; it is already at DIR/understudy.hcl:`,
		},
		{
			name: "a file that cannot be parsed, if it may hold the name", ask: hook("other", notify.Master),
			prepare: func(t *testing.T, h *realHelper) { h.write(t, "conf.d/broken.hcl", "notify {{") },
			want:    `no notify named "other" can be read: DIR/conf.d/broken.hcl:1:9: error: `,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := withScripts(t, newHelper(t, hooks))
			if tt.prepare != nil {
				tt.prepare(t, h)
			}
			want := strings.ReplaceAll(tt.want, "DIR", h.dir)
			if !tt.run {
				want = "the helper refuses: " + want
			}
			if err := tt.ask(h, t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error\n%v\nwant\n%s", err, want)
			}
			log := h.logged()
			if tt.run == strings.Contains(log, `[WARN]  refused: from="root (uid 0)" `) {
				t.Errorf("the log is %q", log)
			}
			if strings.Count(log, "\n") > 1 {
				t.Errorf("more than one line: %q", log)
			}
		})
	}
}

// TestABrokenFileKeepsNoOtherHookFromRunning: somebody edits, and a master dies.
func TestABrokenFileKeepsNoOtherHookFromRunning(t *testing.T) {
	h := withScripts(t, newHelper(t, hooks))
	h.write(t, "conf.d/broken.hcl", "notify {{")
	if _, err := h.Hook(t.Context(), "tell", become(notify.Master)); err != nil {
		t.Error(err)
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

// The users of TestOnlyTheDaemonMayAsk.
const (
	daemonUID   = 65534
	strangerUID = 65533
)

// asAsker makes this test program a daemon that asks the helper at this path to run the hook "tell".
const asAsker = "UNDERSTUDY_TEST_ASK"

func TestMain(m *testing.M) {
	if path := os.Getenv(asAsker); path != "" {
		fmt.Print(hookText(New(path), context.Background(), "tell", notify.Master))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestOnlyTheDaemonMayAsk(t *testing.T) {
	h := withScripts(t, newHelper(t, hooks))
	if err := errors.Join(os.Chmod(h.path, 0o666), os.Chmod(filepath.Dir(h.path), 0o755), os.Chmod(filepath.Dir(filepath.Dir(h.path)), 0o755)); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(h.dir, "ask")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock() // a process forked meanwhile would keep it from being executed
	err = os.WriteFile(program, self, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		uid  uint32
		want string
	}{
		{"the daemon's user", daemonUID, "root one INSTANCE web MASTER 150\n"},
		{"a stranger", strangerUID, "the helper refuses: uid 65533 may not ask: only root and nobody (uid 65534) may"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Env, cmd.Dir = []string{asAsker + "=" + h.path}, "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: tt.uid, Gid: tt.uid}}
			if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), tt.want) {
				t.Errorf("%v: %s\nwant %s", err, out, tt.want)
			}
		})
	}
	h.DaemonUser = "understudy-no-such"
	if err := mayAsk(strangerUID, h.DaemonUser); err == nil || err.Error() != `uid 65533 may not ask: only root and the daemon's user may, and user "understudy-no-such" does not exist on this host` {
		t.Errorf("without such a user: %v", err)
	}
}
