package netlab_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// abandon makes the test binary build a lab, name it, and wait to be killed.
const abandon = "NETLAB_TEST_ABANDON"

func TestMain(m *testing.M) {
	if os.Getenv(abandon) == "" {
		os.Exit(m.Run())
	}
	l, err := netlab.New(context.Background())
	if err != nil {
		panic(err)
	}
	h, err := l.Host(context.Background(), "left")
	if err != nil {
		panic(err)
	}
	p, err := h.Start("sleep", "60")
	if err != nil {
		panic(err)
	}
	fmt.Println(h.Namespace(), l.Dir(), p.PID())
	select {}
}

// wantGone checks that a namespace, a directory and a process are no more.
func wantGone(t *testing.T, namespace, dir string, pid int) {
	t.Helper()
	for _, path := range []string{"/run/netns/" + namespace, dir} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left behind: %v", path, err)
		}
	}
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(text), ") Z "), fmt.Sprintf("process %d is left behind", pid)
	})
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	l := labtest.New(t)
	h := labtest.Host(t, l, "lb1", "10.0.0.1/24")
	// A child that leaves its process group, as a daemon does, is found all the same.
	p, err := h.Start("sh", "-c", "setsid sleep 60 & echo $!; wait")
	if err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, 5*time.Second, func() (bool, string) { return strings.HasSuffix(p.Output(), "\n"), "no output" })
	child, err := strconv.Atoi(strings.TrimSpace(p.Output()))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		wantGone(t, h.Namespace(), l.Dir(), p.PID())
		wantGone(t, h.Namespace(), l.Dir(), child)
	}
}

func TestNewRemovesTheLabOfADeadProcess(t *testing.T) {
	labtest.Root(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), abandon+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) != 3 {
		t.Fatalf("the abandoned lab said %q: %v", line, err)
	}
	pid, err := strconv.Atoi(fields[2])
	if err != nil {
		t.Fatal(err)
	}
	labtest.New(t)
	if _, err := os.Lstat("/run/netns/" + fields[0]); err != nil {
		t.Errorf("the lab of a living process was removed: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the abandoned lab ended by itself")
	}
	labtest.New(t)
	wantGone(t, fields[0], fields[1], pid)
}

func TestHostNames(t *testing.T) {
	l := labtest.New(t)
	labtest.Host(t, l, "lb1")
	const want = ": want 1 to 12 letters, digits and inner dots"
	tests := []struct{ name, host, want string }{
		{"empty", "", `host name ""` + want},
		{"too long for a switch port", "loadbalancer1", `host name "loadbalancer1"` + want},
		{"a path", "../lb", `host name "../lb"` + want},
		{"a parent directory", "..", `host name ".."` + want},
		{"taken by a host", "lb1", `host name "lb1" is taken`},
		{"taken by the switch", "switch", `host name "switch" is taken`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := l.Host(t.Context(), tt.host)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestExec(t *testing.T) {
	l := labtest.New(t)
	h := labtest.Host(t, l, "lb1", "10.0.0.1/24")
	out, err := h.Exec(t.Context(), "sh", "-c", "echo out; echo err >&2")
	if err != nil || out != "out\nerr\n" {
		t.Errorf("printed %q, %v", out, err)
	}
	_, err = h.Exec(t.Context(), "sh", "-c", "echo no disk; exit 3")
	want := fmt.Sprintf(`on lb1: run "ip netns exec %s sh -c echo no disk; exit 3": exit status 3: no disk`, h.Namespace())
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := h.Exec(ctx, "sh", "-c", "sleep 30 & wait"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hung command: %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("a hung command was ended after %v", took)
	}
}

func TestProc(t *testing.T) {
	l := labtest.New(t)
	h := labtest.Host(t, l, "lb1")
	p, err := h.Start("sh", "-c", "trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.01; done")
	if err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, 5*time.Second, func() (bool, string) { return p.Output() == "up\n", "output " + p.Output() })
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "sh on lb1: exit status 4: up\nbye") {
		t.Errorf("ended with %v", err)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal after its end: %v", err)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("kill after its end: %v", err)
	}
}

func TestSnapshotAndAddresses(t *testing.T) {
	l := labtest.New(t)
	h := labtest.Host(t, l, "lb1", "10.0.0.1/24", "fd00::1/64")
	before, err := h.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"inet 10.0.0.1/24", "inet6 fd00::1/64", "10.0.0.0/24 dev eth0", "fd00::/64 dev eth0", "from all lookup main"} {
		if !strings.Contains(before, want) {
			t.Errorf("the snapshot lacks %q:\n%s", want, before)
		}
	}
	// A lifetime that runs is no change; another address is.
	for _, argv := range [][]string{
		{"ip", "address", "add", "10.0.0.9/32", "dev", "eth0", "valid_lft", "60", "preferred_lft", "60"},
		{"ip", "address", "change", "10.0.0.9/32", "dev", "eth0", "valid_lft", "30", "preferred_lft", "30"},
		{"ip", "address", "delete", "10.0.0.9/32", "dev", "eth0"},
	} {
		if _, err := h.Exec(t.Context(), argv...); err != nil {
			t.Fatal(err)
		}
		holds, err := h.Holds(netip.MustParseAddr("10.0.0.9"))
		if err != nil || holds != (argv[2] != "delete") {
			t.Errorf("after %s the address is there: %t, %v", argv[2], holds, err)
		}
		now, err := h.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if same := cmp.Diff(before, now) == ""; same == holds {
			t.Errorf("after %s the snapshot is the same: %t\n%s", argv[2], same, now)
		}
		if strings.Contains(now, "30sec") || strings.Contains(now, "60sec") {
			t.Errorf("the snapshot holds a lifetime:\n%s", now)
		}
	}
}

func TestDirectoriesAreTheHostsOwn(t *testing.T) {
	l := labtest.New(t)
	lb1, lb2 := labtest.Host(t, l, "lb1"), labtest.Host(t, l, "lb2")
	if lb1.Dir() == lb2.Dir() || filepath.Dir(lb1.Dir()) != l.Dir() {
		t.Errorf("directories %s and %s of lab %s", lb1.Dir(), lb2.Dir(), l.Dir())
	}
	if _, err := lb1.Exec(t.Context(), "test", "-d", lb1.Dir()); err != nil {
		t.Error(err)
	}
}
