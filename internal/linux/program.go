package linux

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// trialGrace is how long a program on trial that was killed may keep its output open.
const trialGrace = 200 * time.Millisecond

// maxTrialOutput is how much is kept of what a program on trial writes, in bytes.
const maxTrialOutput = 4096

// Program is the path that this process was started from. What lies there may be another file by now: a package has been
// upgraded, or a link leads elsewhere.
func Program() (string, error) {
	if arg := os.Args[0]; strings.Contains(arg, "/") {
		path, err := filepath.Abs(arg)
		if err == nil && sameFile(path, "/proc/self/exe") {
			return path, nil
		}
	}
	path, err := os.Executable() // without the kernel's " (deleted)"
	if err != nil {
		return "", fmt.Errorf("find the program: %w", err)
	}
	return path, nil
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// Try runs a program with a file as its descriptor 3, and returns what it wrote to standard output. The error says what went
// wrong, with the beginning of what it wrote to standard error. It has the capabilities that Exec would let it have, so that it can
// try what it would do with them, but neither the real-time scheduling of this process nor its protection from the OOM killer, and is
// killed with all that it started when ctx ends.
func Try(ctx context.Context, path string, args []string, file *os.File) ([]byte, error) {
	var out, complaint bounded
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = without(os.Environ(), "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = trialGrace
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := startOrdinary(cmd)
	if err == nil {
		// The daemon's protection from the OOM killer is its own. Writing may fail for a process that is gone already.
		_ = os.WriteFile("/proc/"+strconv.Itoa(cmd.Process.Pid)+"/oom_score_adj", []byte("0"), 0)
		err = cmd.Wait()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if said := strings.TrimSpace(string(complaint.kept)); err != nil && said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return out.kept, err
}

// startOrdinary starts a command with the capabilities of this process which, unlike this process, does not have real-time scheduling
// in any of its threads. What sees to it belongs to the thread, and only root could take it back: the thread ends with its goroutine.
func startOrdinary(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		attr, err := unix.SchedGetAttr(0, 0)
		if err == nil && (attr.Policy == unix.SCHED_FIFO || attr.Policy == unix.SCHED_RR) {
			attr.Flags |= unix.SCHED_FLAG_RESET_ON_FORK
			_ = unix.SchedSetAttr(0, attr, 0) // a trial is short, even so
		}
		lower, err := raiseAmbient()
		if err == nil {
			err = cmd.Start()
		}
		lower() // as long as the thread lives a program that it starts would have them
		started <- err
	}()
	return <-started
}

// without leaves variables out of an environment.
func without(env []string, names ...string) []string {
	return slices.DeleteFunc(env, func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(names, name)
	})
}

// bounded keeps the beginning of what is written.
type bounded struct{ kept []byte }

func (b *bounded) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(len(p), maxTrialOutput-len(b.kept))]...)
	return len(p), nil
}
