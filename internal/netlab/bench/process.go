package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// stopBound is how long a daemon may take to end.
	stopBound = 15 * time.Second
	// linesKept bounds what is kept of a daemon's log.
	linesKept = 200_000
)

// process is a daemon that runs, with all that it printed.
type process struct {
	title string
	cmd   *exec.Cmd
	done  chan struct{} // closed once it ended and its status is known
	err   error         // readable once done is closed

	mu    sync.Mutex // guards what follows
	part  []byte
	lines []logLine
}

// logLine is a line of a log, with the time at which it arrived: keepalived's own stamps have whole seconds.
type logLine struct {
	at   time.Time
	text string
}

// startProcess starts a daemon in a process group of its own. It goes with its host at the latest.
func startProcess(title, dir string, argv ...string) (*process, error) {
	p := &process{title: title, cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", title, err)
	}
	go func() { // joined by stop and kill
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// Write implements io.Writer.
func (p *process) Write(b []byte) (int, error) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.part = append(p.part, b...)
	for {
		text, rest, found := bytes.Cut(p.part, []byte("\n"))
		if !found {
			return len(b), nil
		}
		if len(p.lines) < linesKept {
			p.lines = append(p.lines, logLine{now, string(text)})
		}
		p.part = rest
	}
}

// between returns the lines that arrived between two instants.
func (p *process) between(from, to time.Time) []logLine {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []logLine
	for _, l := range p.lines {
		if !l.at.Before(from) && !l.at.After(to) {
			lines = append(lines, l)
		}
	}
	return lines
}

// tail is the last lines.
func (p *process) tail() string {
	const many = 15
	p.mu.Lock()
	defer p.mu.Unlock()
	var text []string
	for _, l := range p.lines[max(0, len(p.lines)-many):] {
		text = append(text, l.text)
	}
	return strings.Join(text, "\n")
}

// running says whether the process has not ended yet.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the daemon in order (SIGTERM) and waits for it.
func (p *process) stop(ctx context.Context) error {
	if !p.running() {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.title, err)
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(stopBound):
		return errors.Join(fmt.Errorf("%s did not stop within %v:\n%s", p.title, stopBound, p.tail()), p.kill())
	}
}

// kill ends all processes of the daemon by SIGKILL, so that none sees another one's end.
func (p *process) kill() error {
	if !p.running() {
		return nil
	}
	// Stopped first: a parent would start a new child, and a child would clean up after its parent.
	if err := errors.Join(p.signalAll(syscall.SIGSTOP), p.signalAll(syscall.SIGKILL)); err != nil {
		return err
	}
	<-p.done
	return nil
}

// signalAll sends a signal to the daemon and all its children.
func (p *process) signalAll(sig syscall.Signal) error {
	for _, pid := range tree(p.pid()) {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signal %v to process %d of %s: %w", sig, pid, p.title, err)
		}
	}
	return nil
}

// tree lists a process and its children and theirs. One that is gone has none.
func tree(pid int) []int {
	pids := []int{pid}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return pids
	}
	for _, t := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, tree(child)...)
			}
		}
	}
	return pids
}
