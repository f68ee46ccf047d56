package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// executed is the variable in which this test program finds what it inherits.
const executed = "UNDERSTUDY_TEST_EXECUTED"

// playExec drops what children would inherit, executes this program with a sealed file and a socket open, and then says what is
// left.
func playExec() string {
	files, stale, err := Inherit(executed)
	switch {
	case err != nil:
		return err.Error()
	case files == nil:
		return execute().Error()
	}
	content, err := ReadSealed(files[0], 1<<10)
	if err != nil {
		return err.Error()
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err.Error()
	}
	if err := DropAmbient(); err != nil {
		return err.Error()
	}
	_, again := os.LookupEnv(executed)
	sockets := 0
	for _, f := range stale {
		if unix.SetNonblock(int(f.Fd()), true) == nil {
			sockets++
		}
	}
	return fmt.Sprintf("pid %d of %s\n%d files, %d sockets, variable again %t, %v\n%s", os.Getpid(), content, len(files), sockets, again, CheckCaps(), status)
}

func execute() error {
	if err := DropAmbient(); err != nil {
		return err
	}
	f, err := NewSealed("state", fmt.Appendf(nil, "%d", os.Getpid()))
	if err != nil {
		return err
	}
	if _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := Exec("/no/such/program", executed, f); !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("a program that is not there: %w", err)
	}
	// What failed has changed nothing: a child inherits neither the files nor the capabilities.
	if inherits, err := anyThreadInherits(); err != nil || inherits {
		return fmt.Errorf("a child would inherit capabilities: %t, %w", inherits, err)
	}
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		return fmt.Errorf("a child would inherit the file: %d, %w", flags, err)
	}
	return Exec("/proc/self/exe", executed, f)
}

// TestExecKeepsCapabilities executes the program as nobody with the daemon's capabilities: it is the same process and has them
// still.
func TestExecKeepsCapabilities(t *testing.T) {
	needRoot(t, "go")
	t.Parallel()
	out := play(t, withoutCgo(t), "exec", unix.CAP_NET_ADMIN, unix.CAP_NET_RAW)
	var pid, before int
	if n, _ := fmt.Sscanf(out, "pid %d of %d\n", &pid, &before); n != 2 || pid != before {
		t.Fatalf("got %s", out)
	}
	if !strings.Contains(out, "1 files, 1 sockets, variable again false, <nil>\n") {
		t.Errorf("got %s", out)
	}
	has := fmt.Sprintf("%016x", 1<<unix.CAP_NET_ADMIN|1<<unix.CAP_NET_RAW)
	for _, want := range []string{"CapPrm:\t" + has, "CapEff:\t" + has} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}

// TestExecOfAnotherBuild has root execute a program that cannot drop capabilities: it needs none of those that children inherit, as
// little as one that root starts.
func TestExecOfAnotherBuild(t *testing.T) {
	needRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), role+"=exec")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "1 files, 1 sockets, variable again false, <nil>\n") || !strings.Contains(string(out), "CapInh:\t0000000000000000\n") {
		t.Errorf("got %s, %v", out, err)
	}
}

// playTrial is a daemon that tries another program, which does on trial what it would do when it is executed.
func playTrial() string {
	if err := DropAmbient(); err != nil {
		return err.Error()
	}
	f, err := NewSealed("state", nil)
	if err != nil {
		return err.Error()
	}
	if err := os.Setenv(role, "drop"); err != nil {
		return err.Error()
	}
	out, err := Try(context.Background(), os.Getenv(another), nil, f)
	inherits, wrong := anyThreadInherits()
	return fmt.Sprintf("%s%v\ninherits %t, %v", out, err, inherits, wrong)
}

// another is the variable with the program that playTrial tries.
const another = "UNDERSTUDY_TEST_ANOTHER"

// TestTryShowsWhatExecWould: who is not root must drop the capabilities that it is executed with. A program that cannot says so on
// trial, and nothing else gets any of them.
func TestTryShowsWhatExecWould(t *testing.T) {
	needRoot(t, "go")
	t.Parallel()
	without := withoutCgo(t)
	with := filepath.Join(roleDir, "cgo")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "cp", self, with).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	nothing := "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
	for _, tt := range []struct{ name, program, want string }{
		{"a program like this one", without, nothing},
		{"one with cgo", with, "built with cgo: build it with CGO_ENABLED=0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.program == with && !hasCgo() {
				t.Skip("this test program was built without cgo")
			}
			out := playWith(t, without, "trial", []string{another + "=" + tt.program}, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW)
			if !strings.Contains(out, tt.want) || strings.Contains(out, "missing") || !strings.HasSuffix(out, "inherits false, <nil>\n") {
				t.Errorf("got %s, want %s", out, tt.want)
			}
		})
	}
}

// hasCgo says whether this test program was built with cgo.
func hasCgo() bool {
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0)
	return errno == unix.ENOTSUP
}

func TestInheritRefuses(t *testing.T) {
	for _, text := range []string{"", "x", "-1", "1", "9999", "3:", "99999999999"} {
		t.Setenv(executed, text)
		if files, _, err := Inherit(executed); err == nil {
			t.Errorf("%q gives %v", text, files)
		}
		if _, set := os.LookupEnv(executed); set {
			t.Errorf("%q is still there for children", text)
		}
	}
	if files, stale, err := Inherit(executed); files != nil || stale != nil || err != nil {
		t.Errorf("without the variable: %v, %v, %v", files, stale, err)
	}
}

func TestSealedFiles(t *testing.T) {
	f, err := NewSealed("state", []byte("what it was"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for range 2 { // whoever reads it does not move anything
		if got, err := ReadSealed(f, 100); err != nil || string(got) != "what it was" {
			t.Errorf("read %q, %v", got, err)
		}
	}
	if _, err := f.WriteAt([]byte("other"), 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("it can be changed: %v", err)
	}
	if _, err := ReadSealed(f, 5); err == nil || !strings.Contains(err.Error(), "11 bytes, more than 5") {
		t.Errorf("above the bound: %v", err)
	}
	ordinary, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ordinary.Close() }()
	if _, err := ReadSealed(ordinary, 100); err == nil {
		t.Error("an ordinary file is taken for a sealed one")
	}
}

func TestTry(t *testing.T) {
	f, err := NewSealed("state", []byte("sealed"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	t.Setenv("NOTIFY_SOCKET", "/run/none")
	for _, tt := range []struct{ name, script, out, err string }{
		{"reads the file", `cat /proc/self/fd/3`, "sealed", ""},
		{"is not heard by the service manager", `echo "$NOTIFY_SOCKET"`, "\n", ""},
		{"fails", `echo out; echo why >&2; exit 3`, "out\n", "exit status 3: why"},
		{"says too much", `yes | head -c 100000`, strings.Repeat("y\n", maxTrialOutput/2), ""},
		{"hangs, with a child that holds its output", `sleep 100 & sleep 100`, "", "too slow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errors.New("too slow"))
			defer cancel()
			out, err := Try(ctx, "/bin/sh", []string{"-c", tt.script}, f)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if string(out) != tt.out || text != tt.err {
				t.Errorf("got %.50q, %q, want %.50q, %q", out, text, tt.out, tt.err)
			}
		})
	}
}

// playTry tries a program that says its policy, which is field 41 of /proc/PID/stat, and its protection, each behind this process's.
func playTry() string {
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("123"), 0); err != nil {
		return err.Error()
	}
	f, err := NewSealed("state", nil)
	if err != nil {
		return err.Error()
	}
	out, err := Try(context.Background(), "/bin/sh", []string{"-c", `
policy() {
	read -r stat </proc/$1/stat
	set -- ${stat##*) }
	shift 38
	echo "policy $1"
}
policy $PPID
policy $$
looks=0
while [ $looks -lt 200 ] && [ "$(cat /proc/$$/oom_score_adj)" != 0 ]; do
	looks=$((looks + 1))
	sleep 0.01
done
cat /proc/$PPID/oom_score_adj /proc/$$/oom_score_adj
`}, f)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// TestTryIsOrdinary: a program on trial has what any program has, from its first instant on, whatever the daemon has.
func TestTryIsOrdinary(t *testing.T) {
	needRoot(t)
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0); err != nil {
		t.Fatalf("real-time scheduling for this thread: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), role+"=try")
	out, err := cmd.CombinedOutput()
	if want := "policy 2\npolicy 0\n123\n0"; err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("got %s, %v, want %s", out, err, want)
	}
}

func TestProgramIsThisOne(t *testing.T) {
	path, err := Program()
	if err != nil || !sameFile(path, "/proc/self/exe") {
		t.Errorf("got %s, %v", path, err)
	}
}
