package door

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/command"
	"github.com/understudy-ha/understudy/notify"
)

// lastWords is how long after its time a run may still be answered: the helper kills what it started and says what that wrote.
// A Monitor gives a check that is late 100 ms before it calls it stuck.
const lastWords = 80 * time.Millisecond

// Door is the daemon's side: it asks the helper that listens on a socket.
type Door struct {
	path string
	seen atomic.Bool
}

var (
	_ notify.Door = (*Door)(nil)
	_ checks.Door = (*Door)(nil)
)

// New makes a Door to the helper behind a socket, which need not be there yet.
func New(path string) *Door { return &Door{path: path} }

// Open says whether the socket exists, or ever did: once there was a helper, one that is gone is a failure to report, and no
// reason to run a hook as somebody else.
func (d *Door) Open() bool {
	if d.seen.Load() {
		return true
	}
	info, err := os.Stat(d.path)
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return false
	}
	d.seen.Store(true)
	return true
}

// Hook implements notify.Door.
func (d *Door) Hook(ctx context.Context, name string, t notify.Transition) (command.Outcome, error) {
	start := time.Now()
	a, err := d.ask(ctx, request{Hook: name, Transition: toldFrom(t)})
	return command.Outcome{Output: a.Output, Took: time.Since(start)}, err
}

// Check implements checks.Door.
func (d *Door) Check(ctx context.Context, name string) (checks.Finding, error) {
	a, err := d.ask(ctx, request{Check: name})
	if line := (command.Outcome{Output: a.Output}).LastLine(); line != "" && errors.Is(err, context.DeadlineExceeded) && a.Error == "" {
		err = fmt.Errorf("%w; its last output: %s", err, line)
	}
	return checks.Finding{Word: a.Word, Output: a.Output}, err
}

// Remember has the helper take note that the daemon goes by the configuration which is on the disk now. What a later one lacks can so
// still be told of its end.
func (d *Door) Remember(ctx context.Context) error {
	_, err := d.ask(ctx, request{Remember: true})
	return err
}

// Failure is a run that failed behind the door.
type Failure struct {
	// Reason is the helper's.
	Reason string
	// Status is the command's exit status, -1 if it has none.
	Status int
}

// Error is the reason.
func (f *Failure) Error() string { return f.Reason }

// unanswered is an error that says nothing about what was to be run.
type unanswered struct{ error }

// Is says that it is one.
func (unanswered) Is(target error) bool { return target == checks.ErrUnanswered }

// Unwrap is why.
func (u unanswered) Unwrap() error { return u.error }

// ask sends a request and waits for the answer: until ctx ends, and then for the helper's last words. No error of it wraps one
// of the system's: what the helper refuses is not what the check's server refuses.
func (d *Door) ask(ctx context.Context, r request) (answer, error) {
	start := time.Now()
	r.TimeoutMS = maxTimeout.Milliseconds()
	if deadline, ok := ctx.Deadline(); ok {
		r.TimeoutMS = min(r.TimeoutMS, max(1, deadline.Sub(start).Round(time.Millisecond).Milliseconds()))
	}
	a, err := d.exchange(ctx, r)
	switch {
	case err == nil && a.Refused == "" && a.Error == "":
		return a, nil // even if its time ended in the same instant
	case err == nil && a.Refused != "":
		return answer{}, &Failure{Reason: "the helper refuses: " + a.Refused, Status: -1}
	case err != nil && ctx.Err() != nil:
		return answer{}, unanswered{fmt.Errorf("%w; the helper at %s has not answered", command.Ended(ctx, start), d.path)}
	case ctx.Err() != nil:
		a.Error = ""
		return a, command.Ended(ctx, start)
	case err != nil:
		return answer{}, unanswered{fmt.Errorf("ask the helper at %s: %s", d.path, words(err))}
	}
	return a, &Failure{Reason: a.Error, Status: a.Status}
}

// exchange is one connection.
func (d *Door) exchange(ctx context.Context, r request) (answer, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", d.path)
	if err != nil {
		return answer{}, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return answer{}, errors.Join(errors.ErrUnsupported, c.Close())
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() {
		_ = conn.CloseWrite() // the helper ends what it runs
		_ = conn.SetDeadline(time.Now().Add(lastWords))
	})
	defer stop()
	// A helper that refuses at once does not read the request first: its answer says more than the broken pipe.
	writeErr := writeFrame(conn, r, maxRequest)
	var a answer
	if err := readFrame(bufio.NewReader(conn), &a, maxAnswer); err != nil {
		if writeErr != nil {
			err = writeErr
		}
		return answer{}, err
	}
	return a, nil
}

// words says what is the matter with the helper, and what to look at.
func words(err error) string {
	theirs, other := errors.AsType[errVersion](err)
	switch {
	case other:
		return fmt.Sprintf("it speaks version %d of its protocol, and this daemon %d: %s", int(theirs), Version, sameRelease)
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("%v; run: systemctl restart understudy-helper.socket", reason(err))
	case errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("%v; the socket must be open to the daemon's group", reason(err))
	case errors.Is(err, syscall.EAGAIN):
		return "too many wait for it already; see: systemctl status understudy-helper.socket"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it ended without an answer; see: journalctl -u 'understudy-helper@*'"
	}
	return "its answer is not understood: " + err.Error()
}

// reason is a system error without the names of the call and the socket.
func reason(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}
