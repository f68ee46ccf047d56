package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// labsAtOnce is how many labs run at a time, on any machine: their hosts mostly wait.
const labsAtOnce = "3"

// endAtOnce is the race detector's setting for this program as a command: else each would sleep for a second before it ends.
const endAtOnce = "atexit_sleep_ms=0"

// asCommand makes this test program understudy itself, so that its commands are real processes.
const asCommand = "UNDERSTUDY_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	flag.Parse()
	if err := errors.Join(flag.Set("test.parallel", labsAtOnce), os.Setenv("GORACE", endAtOnce)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const (
	hostBound = 20 * time.Second
	hostVIP   = "192.0.2.10"
)

// single is one host with a daemon; nobody else is on its link.
type single struct {
	t    *testing.T
	host *netlab.Host
	conf string
	run  string // the runtime directory's name
	keep string // the state directory's
}

func newSingle(t *testing.T, priority int) *single {
	t.Helper()
	s := &single{t: t, run: "run", keep: "state", host: labtest.Host(t, labtest.New(t), "lb1", "10.0.0.11/24")}
	s.conf = filepath.Join(s.host.Dir(), "understudy.hcl")
	s.configure(priority)
	return s
}

func (s *single) configure(priority int) {
	s.t.Helper()
	s.write(fmt.Sprintf(`
instance "web" {
  interface          = "eth0"
  vrid               = 71
  priority           = %d
  addresses          = [%q]
  advertise_interval = "100ms"
}
notify "script" "tell" {
  on      = ["master", "stop"]
  command = ["/bin/sh", "-c", "echo $UNDERSTUDY_STATE >>%s"]
}
reload {
  watch = false
}
`, priority, hostVIP, filepath.Join(s.host.Dir(), "told")))
}

func (s *single) write(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.conf, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// argv is a command line on the host.
func (s *single) argv(args ...string) []string {
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	argv := append([]string{"env", asCommand + "=1", self}, args...)
	return append(argv, "--runtime-dir", filepath.Join(s.host.Dir(), s.run), "--state-dir", filepath.Join(s.host.Dir(), s.keep))
}

// start starts the daemon.
func (s *single) start(more ...string) *netlab.Proc {
	s.t.Helper()
	p, err := s.host.Start(s.argv(append([]string{"run", "--config", s.conf, "--node", "lb1"}, more...)...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("the daemon's log:\n%s", p.Output())
		}
	})
	return p
}

// command runs one command to its end and returns its exit code and what it printed.
func (s *single) command(args ...string) (int, string) {
	out, err := s.host.Exec(s.t.Context(), s.argv(args...)...)
	if err == nil {
		return exitOK, out
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode(), out
	}
	s.t.Fatal(err)
	return 0, ""
}

// expect runs a command and wants a code and a text.
func (s *single) expect(code int, text string, args ...string) {
	s.t.Helper()
	if got, out := s.command(args...); got != code || !strings.Contains(out, text) {
		s.t.Errorf("%s: exit code %d, %q; want %d, %q", strings.Join(args, " "), got, out, code, text)
	}
}

// await waits until status gives a code.
func (s *single) await(code int) {
	s.t.Helper()
	labtest.Eventually(s.t, hostBound, func() (bool, string) {
		got, out := s.command("status", "web")
		return got == code, fmt.Sprintf("status web exits %d, want %d:\n%s", got, code, out)
	})
}

// holds wants the address to be on the host or not, soon.
func (s *single) holds(want bool) {
	s.t.Helper()
	labtest.Eventually(s.t, hostBound, func() (bool, string) {
		got, err := s.host.Holds(netip.MustParseAddr(hostVIP))
		return err == nil && got == want, fmt.Sprintf("holds %t, want %t, error %v", got, want, err)
	})
}

// logged waits until the daemon's log has a text.
func (s *single) logged(p *netlab.Proc, text string) {
	s.t.Helper()
	labtest.Eventually(s.t, hostBound, func() (bool, string) {
		return strings.Contains(p.Output(), text), fmt.Sprintf("the log has no %q", text)
	})
}

func (s *single) signal(p *netlab.Proc, sig os.Signal) {
	s.t.Helper()
	if err := p.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// ends waits for the daemon's end.
func (s *single) ends(p *netlab.Proc) error {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), hostBound)
	defer cancel()
	return p.Wait(ctx)
}

func (s *single) exec(argv ...string) {
	s.t.Helper()
	if out, err := s.host.Exec(s.t.Context(), argv...); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

func TestOneHost(t *testing.T) {
	t.Parallel()
	s := newSingle(t, 150)
	daemon := s.start()
	s.await(exitOK)
	s.holds(true)

	t.Run("status tells all", func(t *testing.T) {
		s.expect(exitOK, "web  MASTER for ", "status")
		s.expect(exitError, `no instance and no group "mail" here`, "status", "mail")
		_, out := s.command("status", "--json")
		var r struct {
			Node struct {
				Instances []struct{ Name, State string }
			}
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Node.Instances) != 1 || r.Node.Instances[0].State != "master" {
			t.Errorf("JSON: %v, %+v, %s", err, r, out)
		}
	})
	t.Run("a second daemon with its directory changes nothing", func(t *testing.T) {
		s.expect(exitError, "another daemon runs with the runtime directory", "run", "--config", s.conf, "--node", "lb1")
		if got, err := s.host.Holds(netip.MustParseAddr(hostVIP)); err != nil || !got {
			t.Errorf("the first one's address is gone: %t, %v", got, err)
		}
		s.expect(exitOK, "web  MASTER", "status", "web")
	})
	t.Run("drain that nobody answers", func(t *testing.T) {
		s.expect(exitNobodyTook, "nobody took over web: this host serves on, and offers it again", "drain", "--for", "test")
		s.expect(exitOK, "DRAINED by test", "status")
		s.holds(true)
		s.expect(exitOK, "undrained", "undrain", "--for", "test")
		s.expect(exitOK, "priority   150 = 150 base", "status", "web")
	})
	t.Run("reload", func(t *testing.T) {
		s.expect(exitOK, "unchanged", "reload")
		s.configure(120)
		s.expect(exitOK, "instance web changed", "reload")
		s.expect(exitOK, "priority   120 = 120 base", "status", "web")
		s.write("instance {")
		s.expect(exitError, "not reloaded, the running configuration goes on:\n"+s.conf+":1:", "reload")
		s.expect(exitOK, "configuration REJECTED ", "status", "web")
		s.configure(130)
		s.signal(daemon, syscall.SIGHUP)
		labtest.Eventually(t, hostBound, func() (bool, string) {
			_, out := s.command("status", "web")
			return strings.Contains(out, "130 = 130 base") && strings.Contains(out, "configuration loaded"), out
		})
	})
	t.Run("an interface that goes and comes back", func(t *testing.T) {
		if err := s.host.AdminDown(); err != nil {
			t.Fatal(err)
		}
		s.await(exitFault)
		if err := s.host.AdminUp(); err != nil {
			t.Fatal(err)
		}
		s.await(exitOK)
		s.holds(true)
		// So short that the end may be all that is seen of it; the packet sockets break all the same.
		s.exec("sh", "-c", "ip link set eth0 down; ip link set eth0 up")
		s.await(exitOK)
		s.holds(true)
		s.exec("ip", "link", "set", "eth0", "down")
		s.exec("ip", "link", "set", "eth0", "name", "other0")
		labtest.Eventually(t, hostBound, func() (bool, string) { // it may be seen to be down first
			code, out := s.command("status", "web")
			return code == exitFault && strings.Contains(out, `interface "eth0" does not exist`), out
		})
		s.exec("ip", "link", "set", "other0", "name", "eth0")
		s.exec("ip", "link", "set", "eth0", "up")
		s.await(exitOK)
		s.holds(true)
	})
	t.Run("the end", func(t *testing.T) {
		s.signal(daemon, syscall.SIGTERM)
		if err := s.ends(daemon); err != nil {
			t.Errorf("%v", err)
		}
		if got, err := s.host.Holds(netip.MustParseAddr(hostVIP)); err != nil || got {
			t.Errorf("the address stays: %t, %v", got, err)
		}
		told, err := os.ReadFile(filepath.Join(s.host.Dir(), "told"))
		if err != nil || !bytes.HasSuffix(told, []byte("stop\n")) && !bytes.HasSuffix(told, []byte("STOP\n")) {
			t.Errorf("hooks were told %q, error %v", told, err)
		}
		s.expect(exitNotRunning, "understudy is not running", "status")
	})
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := newSingle(t, 150)
	text, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	s.write(strings.ReplaceAll(string(text), `"100ms"`, `"1s"`)) // the handover waits longer than a second
	daemon := s.start()
	s.await(exitOK)
	s.signal(daemon, syscall.SIGTERM)
	s.logged(daemon, "stopping: why=")
	s.signal(daemon, syscall.SIGHUP) // no reason to die
	s.logged(daemon, "to=leaving")
	s.signal(daemon, syscall.SIGTERM)
	err = s.ends(daemon)
	e, ok := errors.AsType[*exec.ExitError](err)
	if !ok || !e.Sys().(syscall.WaitStatus).Signaled() || e.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("ended by %v, want SIGTERM itself", err)
	}
	next := s.start() // and what it left is cleared up
	s.await(exitOK)
	s.signal(next, syscall.SIGTERM)
	if err := s.ends(next); err != nil {
		t.Error(err)
	}
	s.holds(false)
}

func TestRunWithoutRights(t *testing.T) {
	labtest.Root(t)
	dir, err := os.MkdirTemp("", "ust")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "understudy.hcl")
	if err := os.WriteFile(conf, []byte(validConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), commandtest.Self(t, dir, "understudy"), "run", "--config", conf, "--node", "lb1",
		"--runtime-dir", filepath.Join(dir, "run"), "--state-dir", filepath.Join(dir, "state"))
	cmd.Env = []string{asCommand + "=1", "GORACE=" + endAtOnce}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	e, ok := errors.AsType[*exec.ExitError](err)
	if !ok || e.ExitCode() != exitError || !strings.Contains(string(out), "CAP_NET_ADMIN and CAP_NET_RAW missing: run as root") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "run")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it began something: %v", err)
	}
}

// shipped builds the program into a directory as users get it, without the race detector.
func shipped(t *testing.T, dir string) string {
	t.Helper()
	labtest.Require(t, "go")
	path := filepath.Join(dir, "understudy")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build, which has compiled all that it is made of
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return path
}
