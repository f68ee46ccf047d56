package netlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// pipeBound is how long a child that ended may keep its output open through its own children.
	pipeBound = time.Second
	// outputLimit is how much of a process's output is kept: the last of it.
	outputLimit = 1 << 20
	// quoteLimit is how much of a command's output an error quotes.
	quoteLimit = 2 << 10
)

// sbinDirs are where Debian keeps what only root needs; an unprivileged user's PATH lacks them.
var sbinDirs = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

// Find returns the path of a program, looked for in PATH and in the sbin directories.
func Find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range sbinDirs {
		if path, derr := exec.LookPath(filepath.Join(dir, program)); derr == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("find %s: %w", program, err)
}

// run runs a command to its end, in its own process group, which ends with ctx. It returns what it printed.
func run(ctx context.Context, stdin string, argv ...string) (string, error) {
	path, err := Find(argv[0])
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pipeBound
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return string(out), fmt.Errorf("run %q: %w: %s", strings.Join(argv, " "), err, quote(out))
	}
	return string(out), nil
}

func quote(out []byte) string {
	out = out[max(0, len(out)-quoteLimit):]
	return strings.TrimSpace(string(out))
}

// Exec runs a command on the host to its end and returns what it printed, both streams together. When ctx ends, the command
// and its children are killed.
func (h *Host) Exec(ctx context.Context, argv ...string) (string, error) {
	out, err := run(ctx, "", h.command(argv)...)
	if err != nil {
		return out, fmt.Errorf("on %s: %w", h.name, err)
	}
	return out, nil
}

func (h *Host) command(argv []string) []string {
	return append([]string{"ip", "netns", "exec", h.ns.name}, argv...)
}

// Proc is a process on a host.
type Proc struct {
	name string
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed when it ended and its status is known
	err  error         // readable once done is closed
}

// Start starts a command on the host, in its own process group, with the host's directory as working directory. It runs until
// it ends, is killed, or the lab closes.
func (h *Host) Start(argv ...string) (*Proc, error) {
	ip, err := Find("ip")
	if err != nil {
		return nil, err
	}
	// ip replaces itself by the command, so that the process id is the command's.
	p := &Proc{name: argv[0] + " on " + h.name, cmd: exec.Command(ip, h.command(argv)[1:]...), done: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Dir = h.dir
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.WaitDelay = pipeBound
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	h.mu.Lock()
	h.procs = append(h.procs, p)
	h.mu.Unlock()
	go func() { // joined by Host.close
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// PID is the process id.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Output is what the process printed so far, both streams together; of very much, the last.
func (p *Proc) Output() string { return p.out.String() }

// Signal sends a signal to the process alone, not to its children.
func (p *Proc) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal %v to %s: %w", sig, p.name, err)
	}
	return nil
}

// Kill sends SIGKILL to the process and its group and waits for its end. An ended process is no error.
func (p *Proc) Kill() error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := syscall.Kill(-p.PID(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.done
	return nil
}

// Wait waits for the process to end. It returns nil for exit status 0.
func (p *Proc) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", p.name, context.Cause(ctx))
	case <-p.done:
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w: %s", p.name, p.err, quote([]byte(p.Output())))
	}
	return nil
}

// output keeps the last of what is written to it.
type output struct {
	mu  sync.Mutex // guards what follows
	buf []byte
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = append(o.buf, p...)
	if len(o.buf) > 2*outputLimit {
		o.buf = append([]byte(nil), o.buf[len(o.buf)-outputLimit:]...)
	}
	return len(p), nil
}

// String is what was kept.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.buf)
}
