package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// daemonUID is the user of the daemons that are not root; every Debian has it, by the name daemon.
const daemonUID = 1

// unprivileged is one host with the shipped program as a daemon that is not root, and what starts its helper.
type unprivileged struct {
	t       *testing.T
	host    *netlab.Host
	program string
	dir     string // only root can write it, but for its directory "own", which is the daemon's
	tasks   sync.WaitGroup

	mu  sync.Mutex // guards what follows
	log bytes.Buffer
}

// newUnprivileged has a configuration in which DIR stands for the directory.
func newUnprivileged(t *testing.T, text string) *unprivileged {
	t.Helper()
	u := &unprivileged{t: t, dir: commandtest.Dir(t)} // removed when the daemon is gone, so made before the host is
	u.host = labtest.Host(t, labtest.New(t), "lb1", "10.0.0.11/24")
	u.program = shipped(t, u.dir)
	own := filepath.Join(u.dir, "own")
	if err := errors.Join(os.Mkdir(own, 0o755), os.Chown(own, daemonUID, daemonUID)); err != nil {
		t.Fatal(err)
	}
	u.configure(text)
	return u
}

func (u *unprivileged) configure(text string) {
	u.t.Helper()
	text = `
instance "web" {
  interface          = "eth0"
  vrid               = 71
  priority           = 150
  addresses          = ["192.0.2.10"]
  advertise_interval = "100ms"
}
reload {
  watch = false
}
` + strings.ReplaceAll(text, "DIR", u.dir)
	if err := os.WriteFile(filepath.Join(u.dir, "understudy.hcl"), []byte(text), 0o644); err != nil {
		u.t.Fatal(err)
	}
}

// options are those of the daemon and of its helper.
func (u *unprivileged) options() []string {
	return []string{
		"--config", filepath.Join(u.dir, "understudy.hcl"), "--node", "lb1", "--helper", u.socket(),
		"--runtime-dir", filepath.Join(u.dir, "own", "run"), "--state-dir", filepath.Join(u.dir, "own", "state"),
	}
}

func (u *unprivileged) socket() string { return filepath.Join(u.dir, "helper.sock") }

// listen does what systemd does with understudy-helper.socket: a helper for each connection, which is its standard input and
// output.
func (u *unprivileged) listen() {
	u.t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: u.socket(), Net: "unix"})
	if err == nil {
		err = errors.Join(os.Chown(u.socket(), 0, daemonUID), os.Chmod(u.socket(), 0o660))
	}
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		_ = l.Close()
		u.tasks.Wait()
	})
	u.tasks.Go(func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			u.tasks.Go(func() { u.help(c) })
		}
	})
}

// help runs one helper.
func (u *unprivileged) help(c *net.UnixConn) {
	file, err := c.File()
	_ = c.Close()
	if err == nil {
		own := []string{"helper", "--daemon-user", strconv.Itoa(daemonUID), "--memory", filepath.Join(u.dir, "memory")}
		cmd := exec.Command(u.program, append(own, u.options()...)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = file, file, u
		err = cmd.Start()
		_ = file.Close() // else the daemon would not hear the end of the helper
		if err == nil {
			err = cmd.Wait()
		}
	}
	if err != nil {
		fmt.Fprintf(u, "helper: %v\n", err)
	}
}

// Write takes the helpers' log.
func (u *unprivileged) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.log.Write(p)
}

func (u *unprivileged) helpersLog() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.log.String()
}

// start starts the daemon, with the capabilities of its unit and no more.
func (u *unprivileged) start() *netlab.Proc {
	u.t.Helper()
	id := strconv.Itoa(daemonUID)
	p, err := u.host.Start(append([]string{"setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--inh-caps", "+net_admin,+net_raw", "--ambient-caps", "+net_admin,+net_raw",
		u.program, "run"}, u.options()...)...)
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		if u.t.Failed() {
			u.t.Logf("the daemon's log:\n%s\nthe helpers':\n%s", p.Output(), u.helpersLog())
		}
	})
	return p
}

// says waits until a file in the directory holds a text.
func (u *unprivileged) says(name, want string) {
	u.t.Helper()
	labtest.Eventually(u.t, hostBound, func() (bool, string) {
		text, _ := os.ReadFile(filepath.Join(u.dir, name))
		return string(text) == want, fmt.Sprintf("%s says %q, want %q", name, text, want)
	})
}

// ends stops the daemon, and waits.
func (u *unprivileged) ends(p *netlab.Proc) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), hostBound)
	defer cancel()
	if err := errors.Join(p.Signal(os.Interrupt), p.Wait(ctx)); err != nil {
		u.t.Error(err)
	}
}

// TestHelperIsPassedAConnection: as systemd passes it besides on standard input, and what is none.
func TestHelperIsPassedAConnection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	server, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	passed, err := server.File()
	if err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	listening, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listening.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	if _, err := client.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		file   *os.File // descriptor 3
		listen string
		code   int
		want   string // on standard error
	}{
		{"a connection", passed, "1", exitOK, `refused: from="`},
		{"two descriptors", null, "2", exitError, `LISTEN_FDS is "2": it takes one connection`},
		{"a socket that listens", listening, "1", exitError, "it was passed a socket that listens, not a connection: the socket unit needs Accept=yes"},
		{"no socket", null, "1", exitError, "standard input is no connection to a daemon"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=`+tt.listen+` exec "$0" helper --daemon-user root`, self)
			cmd.Env = append(os.Environ(), asCommand+"=1")
			cmd.ExtraFiles = []*os.File{tt.file}
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != tt.code || !strings.Contains(string(out), tt.want) {
				t.Errorf("%v: %s\nwant exit status %d and %q", err, out, tt.code, tt.want)
			}
		})
	}
	_ = passed.Close()
	answer, err := io.ReadAll(client)
	if err != nil || !strings.Contains(string(answer), `{"refused":"`) {
		t.Errorf("answer %q, %v", answer, err)
	}
}

// capabilities prints what a process may do, in a file that is there only when it is whole.
const capabilities = `"/bin/sh", "-c", "(id -un; grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f2) >$0.new && mv $0.new $0"`

// nothing are four empty sets.
var nothing = strings.Repeat(strings.Repeat("0", 16)+"\n", 4)

// TestCommandsHaveNoCapability: the shipped program, as its unit starts it, without a helper.
func TestCommandsHaveNoCapability(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "setpriv")
	u := newUnprivileged(t, `
check "script" "shown" {
  command = [`+capabilities+`, "DIR/own/check"]
}
notify "script" "shown" {
  on      = ["master"]
  command = [`+capabilities+`, "DIR/own/hook"]
}
`)
	p := u.start()
	u.says("own/check", "daemon\n"+nothing)
	u.says("own/hook", "daemon\n"+nothing)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil || !strings.Contains(string(status), "CapEff:\t0000000000003000\n") {
		t.Errorf("the daemon has not its own two, so this shows nothing: %v\n%s", err, status)
	}
	want := `understudy.hcl:16:1: warning: this hook runs as daemon (uid 1) and not as root: the daemon is not root, and no helper listens at ` +
		u.socket() + `; run: systemctl start understudy-helper.socket, or write user = "daemon"`
	if !strings.Contains(p.Output(), want) {
		t.Errorf("the log lacks %q", want)
	}
	// The helper that is there from now on is found without a restart.
	u.configure(`
notify "script" "shown" {
  on      = ["stop"]
  command = ["/bin/sh", "-c", "id -un >DIR/stopped"]
}
`)
	u.listen()
	if out, err := u.host.Exec(t.Context(), u.program, "reload", "--runtime-dir", filepath.Join(u.dir, "own", "run")); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	u.ends(p)
	u.says("stopped", "root\n")
}

// configureDoor has hooks and a check of every sort.
func (u *unprivileged) configureDoor(nginx *netlab.Nginx) {
	u.t.Helper()
	commandtest.Script(u.t, u.dir, "tell", `echo "$(id -un) $* $UNDERSTUDY_REASON" >>"$(dirname $0)/told"`)
	commandtest.Script(u.t, u.dir, "loose", `echo run >"$(dirname $0)/own/loose"`)
	if err := os.Chmod(filepath.Join(u.dir, "loose"), 0o757); err != nil {
		u.t.Fatal(err)
	}
	u.configure(`
check "script" "as-nobody" {
  command = ["/bin/sh", "-c", "id -un; exit 1"]
  user    = "nobody"
  weight  = -10
}
notify "script" "tell" {
  on      = ["master", "stop"]
  command = ["DIR/tell"]
}
notify "script" "loose" {
  on      = ["master"]
  command = ["DIR/loose"]
}
notify "nginx" "reload" {
  on     = ["master"]
  config = "` + nginx.ConfigFile() + `"
}
notify "script" "hangs" {
  on      = ["stop"]
  command = ["/bin/sh", "-c", "echo $$ >DIR/hangs; sleep 600"]
}
`)
}

// TestThroughTheDoor: hooks run as root and checks as their users although the daemon is neither, with real nginx.
func TestThroughTheDoor(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "setpriv", "nginx")
	u := newUnprivileged(t, "")
	nginx, err := u.host.Nginx(t.Context(), netlab.NginxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u.configureDoor(nginx)
	u.listen()
	p := u.start()
	labtest.Eventually(t, hostBound, func() (bool, string) {
		text, _ := os.ReadFile(filepath.Join(u.dir, "told"))
		return strings.HasPrefix(string(text), "root INSTANCE web MASTER 140 nobody advertised"), fmt.Sprintf("told: %q", text)
	})
	labtest.Eventually(t, hostBound, func() (bool, string) {
		text, _ := os.ReadFile(filepath.Join(filepath.Dir(nginx.ConfigFile()), "error.log"))
		return bytes.Contains(text, []byte("reconfiguring")), fmt.Sprintf("nginx was not reloaded:\n%s", text)
	})
	for _, want := range []string{
		"hook failed: hook=loose instance=web state=master", "loose is unsafe to run: everybody may write to " + u.dir + "/loose (mode 0757); chmod o-w",
		`unhealthy: check=as-nobody why="nobody (exit status 1)"`,
	} {
		labtest.Eventually(t, hostBound, func() (bool, string) {
			return strings.Contains(p.Output(), want), fmt.Sprintf("the log lacks %q", want)
		})
	}
	start := time.Now()
	u.ends(p)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the stop took %v, although its hooks have 5 s together", took)
	}
	told, err := os.ReadFile(filepath.Join(u.dir, "told"))
	if err != nil || !strings.Contains(string(told), "root INSTANCE web STOP ") {
		t.Errorf("told %q, %v", told, err)
	}
	pid, err := os.ReadFile(filepath.Join(u.dir, "hangs"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the hook that hangs outlives the daemon: %v", err)
	}
	if !strings.Contains(p.Output(), "hook failed: hook=hangs") || !strings.Contains(p.Output(), "the time for stop hooks is over") {
		t.Error("the hook that hangs is not reported")
	}
}
