package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pipeGrace is how long a process that outlives the command may keep its output open: then the command counts as
// ended, with the output read so far. Of a command with little time it is a pipeShare of that: it must not be late only for this.
const (
	pipeGrace = 200 * time.Millisecond
	pipeShare = 4
)

// Run runs a command and waits for it. Exit status 0 is a nil error; anything else is an error that says what
// happened, also that it could not be started or is not safe to start. The command has a process group of its own,
// which is killed and waited for when ctx ends; then errors.Is(err, ctx.Err()) holds. Processes that a command left
// running in the background after it ended in time are not touched, but their output is no longer read.
func Run(ctx context.Context, s Spec) (Outcome, error) {
	start := time.Now()
	p, err := prepare(s)
	if err != nil {
		return Outcome{}, err
	}
	var output tail
	cmd := exec.CommandContext(ctx, p.path)
	cmd.Args, cmd.Env, cmd.Dir = s.Argv, p.env, "/"
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: p.cred}
	cmd.WaitDelay = graceOf(ctx)
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }

	if err := startWithoutAmbient(cmd); err != nil {
		return Outcome{Took: time.Since(start)}, startError(ctx, err, p, s.User, start)
	}
	// A daemon that must live longest would else hand its protection from the OOM killer to every script. It may fail
	// for a process that is gone already, or where /proc is not ours to write: no reason to fail the command.
	_ = os.WriteFile("/proc/"+strconv.Itoa(cmd.Process.Pid)+"/oom_score_adj", []byte("0"), 0)
	leaveRealtime(cmd.Process.Pid)

	err = cmd.Wait()
	return Outcome{Output: output.String(), Took: time.Since(start)}, waitError(ctx, cmd.ProcessState, err, start)
}

// graceOf is the pipeGrace of a command that begins now.
func graceOf(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return min(pipeGrace, max(time.Until(end)/pipeShare, time.Millisecond))
	}
	return pipeGrace
}

// startWithoutAmbient starts a command with an empty ambient capability set, so that a command run by a daemon that
// is not root inherits no capability of it. The set belongs to the thread, and matters only when a program is executed.
func startWithoutAmbient(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear the ambient capabilities: %w", err)
	}
	return cmd.Start()
}

// killGroup kills the command and everything that it started and that did not leave its process group. Signals to a
// group reach also what is being forked at that instant.
func killGroup(pid int) error {
	err := syscall.Kill(-pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func startError(ctx context.Context, err error, p prepared, user string, start time.Time) error {
	if ctx.Err() != nil {
		return Ended(ctx, start)
	}
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOENT):
		hint = "; the file is there, so its interpreter (the #! line) is missing"
	case errors.Is(err, syscall.ENOEXEC):
		hint = "; a script must begin with a line such as #!/bin/sh"
	case errors.Is(err, syscall.EPERM) && p.cred != nil:
		hint = fmt.Sprintf("; to run it as user %q the daemon must be root or have CAP_SETUID and CAP_SETGID", user)
	case errors.Is(err, syscall.EACCES) && p.cred != nil:
		hint = fmt.Sprintf("; user %q may not execute it or not enter a directory on its way", user)
	}
	return fmt.Errorf("start %s: %w%s", p.path, err, hint)
}

func waitError(ctx context.Context, state *os.ProcessState, err error, start time.Time) error {
	if state == nil { // never the case after a start that succeeded, but nothing to crash for
		return err
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return err
	case status.Exited() && status.ExitStatus() == 0:
		return nil // whatever became of its output, and even if the end of ctx came in the same instant
	case ctx.Err() != nil && status.Signaled() && status.Signal() == syscall.SIGKILL:
		return Ended(ctx, start)
	case status.Signaled():
		return &worded{text: fmt.Sprintf("killed by signal %d (%s)", int(status.Signal()), unix.SignalName(status.Signal())), err: err}
	case status.Exited():
		return &worded{text: fmt.Sprintf("exit status %d", status.ExitStatus()), err: err}
	}
	return err
}

// worded is an error in our words that keeps the one below for errors.Is and errors.As.
type worded struct {
	text string
	err  error
}

func (e *worded) Error() string { return e.text }
func (e *worded) Unwrap() error { return e.err }

// Ended is why ctx ended, in words, for a run that began at start: its cause if it has one of its own, else the time that the
// run had. errors.Is(err, ctx.Err()) holds.
func Ended(ctx context.Context, start time.Time) error {
	cause := context.Cause(ctx)
	deadline, ok := ctx.Deadline()
	switch {
	case !ok || !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &worded{text: fmt.Sprintf("stopped: %v", cause), err: ctx.Err()}
	case cause != ctx.Err():
		return &worded{text: cause.Error(), err: ctx.Err()}
	}
	// The caller set its timeout a moment before we looked at the clock: 10 ms of rounding give its number back.
	return &worded{text: fmt.Sprintf("timed out after %s", max(0, deadline.Sub(start).Round(10*time.Millisecond))), err: ctx.Err()}
}
