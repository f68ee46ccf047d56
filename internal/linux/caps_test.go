package linux

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// role makes this test program play a daemon: it drops what its children would inherit and shows its status and a child's.
const role = "UNDERSTUDY_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "exec":
		fmt.Println(playExec())
		os.Exit(0)
	case "squatter":
		fmt.Println(playSquatter())
		os.Exit(0)
	case "trial":
		fmt.Println(playTrial())
		os.Exit(0)
	case "try":
		fmt.Println(playTry())
		os.Exit(0)
	case "drop":
		if err := DropAmbient(); err != nil {
			os.Stdout.WriteString(err.Error())
			os.Exit(0)
		}
		fallthrough
	case "show":
		cmd := exec.Command("/bin/grep", "Cap", "/proc/self/status")
		cmd.Env = nil
		out, err := cmd.CombinedOutput()
		if err != nil {
			os.Stdout.WriteString(err.Error())
		}
		os.Stdout.Write(out)
		if err := CheckCaps(); err != nil {
			os.Stdout.WriteString(err.Error())
		}
		os.Exit(0)
	}
	os.Exit(runTests(m))
}

// waitAtOnce is how many of the parallel tests run at a time, on any machine: they mostly wait.
const waitAtOnce = "4"

// roleDir holds the program that buildWithoutCgo builds.
var roleDir string

func runTests(m *testing.M) int {
	var err error
	if roleDir, err = os.MkdirTemp("/tmp", "understudy-caps"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(roleDir)
	flag.Parse()
	if err := flag.Set("test.parallel", waitAtOnce); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// play runs program, this test's or another build of it, as nobody with these ambient capabilities.
func play(t *testing.T, program, as string, ambient ...uintptr) string {
	t.Helper()
	return playWith(t, program, as, nil, ambient...)
}

// playWith does so with more in its environment.
func playWith(t *testing.T, program, as string, env []string, ambient ...uintptr) string {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(append(os.Environ(), role+"="+as), env...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: ambient}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// withoutCgo builds this package's test program as the daemon is built, once, in a place where nobody may run it.
func withoutCgo(t *testing.T) string {
	t.Helper()
	program, err := buildWithoutCgo()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

var buildWithoutCgo = sync.OnceValues(func() (string, error) {
	if err := os.Chmod(roleDir, 0o755); err != nil {
		return "", err
	}
	program := filepath.Join(roleDir, "caps")
	cmd := exec.Command("go", "test", "-c", "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return program, nil
})

func TestDropAmbientLeavesChildrenNothing(t *testing.T) {
	needRoot(t, "go")
	t.Parallel()
	program := withoutCgo(t)
	both := []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}
	nothing := regexp.MustCompile(`CapInh:\s0{16}\nCapPrm:\s0{16}\nCapEff:\s0{16}\n`)
	if out := play(t, program, "show", both...); nothing.MatchString(out) || strings.Contains(out, "missing") {
		t.Fatalf("without the call a child must inherit something, or this test shows nothing: %s", out)
	}
	out := play(t, program, "drop", both...)
	if !nothing.MatchString(out) {
		t.Errorf("a child inherited:\n%s", out)
	}
	if strings.Contains(out, "missing") {
		t.Errorf("the daemon lost its own: %s", out)
	}
}

func TestCheckCapsNamesWhatIsMissing(t *testing.T) {
	needRoot(t, "go")
	t.Parallel()
	program := withoutCgo(t)
	tests := []struct {
		name    string
		ambient []uintptr
		want    string
	}{
		{"both", nil, "CAP_NET_ADMIN and CAP_NET_RAW missing: run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW"},
		{"one", []uintptr{unix.CAP_NET_ADMIN}, "CAP_NET_RAW missing: run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if out := play(t, program, "show", tt.ambient...); !strings.HasSuffix(out, "\n"+tt.want) {
				t.Errorf("got %s, want %s", out, tt.want)
			}
		})
	}
	if err := CheckCaps(); err != nil {
		t.Errorf("as root: %v", err)
	}
}
