package door

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/command"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/notify"
)

// The bounds of the helper's waits.
const (
	requestBound = 5 * time.Second // for the whole request to come
	answerBound  = 5 * time.Second // for the answer to leave
	// answerShare and answerMost are what is kept of the daemon's time for the answer: a tenth, at most so much.
	answerShare = 10
	answerMost  = 50 * time.Millisecond
	// maxError is how much of an error is sent, in bytes.
	maxError = 4096
)

// Helper is the side of the door that is root.
type Helper struct {
	// Paths are where the configuration is, and Node is the node's name, as config.Options has it.
	Paths []string
	Node  string
	// DaemonUser may ask, beside root; by name or number.
	DaemonUser string
	// Memory is the directory, root's alone, for what the configuration said before it was changed; empty: nothing is known of that.
	Memory string
	// Log makes the log, once the configuration says how; before that it is asked for the defaults.
	Log func(config.Log) hclog.Logger
}

// Serve answers the one request of a connection, and closes it. What the request started has ended then. The error says that
// the answer could not be given to a daemon that waits for it; a refusal is an answer.
func (h Helper) Serve(ctx context.Context, conn *net.UnixConn) error {
	s := &session{Helper: h, log: h.Log(config.DefaultLog())}
	defer s.watch.Wait()
	defer func() { _ = conn.Close() }()
	a, err := s.answer(ctx, conn)
	if err != nil {
		s.log.Warn("refused", append(s.about, "why", err)...)
		a = answer{Refused: cut(err.Error()), Status: -1}
	}
	if err := conn.SetWriteDeadline(time.Now().Add(answerBound)); err != nil {
		return err
	}
	err = writeFrame(conn, a, maxAnswer)
	if errors.Is(err, syscall.EPIPE) {
		s.log.Debug("the daemon is gone", s.about...)
		return nil
	}
	if err != nil {
		return fmt.Errorf("answer the daemon: %w", err)
	}
	return nil
}

// session is one request.
type session struct {
	Helper
	log   hclog.Logger
	about []any          // what is known of the request, for the log
	watch sync.WaitGroup // for the end of the connection
}

// answer reads the request and does what it asks for; the error is why it does not.
func (s *session) answer(ctx context.Context, conn *net.UnixConn) (answer, error) {
	uid, err := peerOf(conn)
	if err != nil {
		return answer{}, fmt.Errorf("ask the kernel who asks: %w", err)
	}
	s.about = []any{"from", command.UserName(uid)}
	if err := mayAsk(uid, s.DaemonUser); err != nil {
		return answer{}, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(requestBound)); err != nil {
		return answer{}, err
	}
	r, in := request{}, bufio.NewReader(conn)
	if err := readFrame(in, &r, maxRequest); err != nil {
		return answer{}, requestError(err)
	}
	if err := r.judge(); err != nil {
		return answer{}, fmt.Errorf("not a request of a daemon: %w", err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return answer{}, err
	}
	ctx, gone := context.WithCancelCause(ctx)
	defer gone(nil)
	s.watch.Go(func() {
		_, _ = in.ReadByte() // the daemon has nothing more to say: its end, or nonsense
		gone(errGone)
	})
	return s.run(ctx, r)
}

// errGone is why a run was ended that the daemon does not wait for any more.
var errGone = errors.New("the daemon waits no longer")

func requestError(err error) error {
	theirs, other := errors.AsType[errVersion](err)
	switch {
	case other:
		return fmt.Errorf("the daemon speaks version %d of the helper's protocol, and this helper %d: %s", int(theirs), Version, sameRelease)
	case errors.Is(err, io.EOF):
		return errors.New("nothing was asked")
	}
	return fmt.Errorf("read the request: %w", err)
}

// sameRelease is what to do about a daemon and a helper that do not understand each other.
const sameRelease = "they are of different releases of understudy; run: systemctl restart understudy"

// run finds what a request names, and runs it.
func (s *session) run(ctx context.Context, r request) (answer, error) {
	s.about = append(s.about, r.subject()...)
	commands, err := config.LoadCommands(s.Paths, config.Options{Node: s.Node}, command.OnlyRoot)
	if err != nil {
		return answer{}, err
	}
	s.log = s.Log(commands.Log())
	switch {
	case r.Remember:
		return answer{}, s.note(commands)
	case r.Check != "":
		return s.check(ctx, r, commands)
	}
	return s.hook(ctx, r, commands)
}

// note keeps the configuration that the daemon goes by from now on.
func (s *session) note(commands *config.Commands) error {
	if s.Memory == "" {
		return errors.New("this helper has no --memory")
	}
	k, err := keep(commands)
	if err == nil {
		err = s.remember(k, time.Now())
	}
	if err != nil {
		return fmt.Errorf("remember the configuration: %w", err)
	}
	return nil
}

// subject is what a request is about, for the log.
func (r request) subject() []any {
	switch {
	case r.Remember:
		return []any{"remember", "the configuration"}
	case r.Check != "":
		return []any{"check", r.Check}
	}
	return []any{"hook", r.Hook, "instance", r.Transition.Instance, "state", r.Transition.State}
}

// hook runs a hook for a transition that it is written for.
func (s *session) hook(ctx context.Context, r request, commands *config.Commands) (answer, error) {
	t := r.Transition.told()
	if t.Node != commands.Node() {
		return answer{}, fmt.Errorf("the daemon is node %q, and this helper %q; give both the same --node", t.Node, commands.Node())
	}
	hook, err := configured(r.Hook, t, commands)
	if err != nil {
		if hook, err = s.lastHook(r.Hook, t, commands, err); err != nil {
			return answer{}, err
		}
	}
	hook.Privileged = true
	ctx, cancel := r.within(ctx, hook.Settings.Timeout)
	defer cancel()
	start := time.Now()
	outcome, err := hook.Run(ctx, t)
	return s.ran(start, err, answer{Output: outcome.Output}), nil
}

// configured is a hook of the configuration that wants a transition.
func configured(name string, t notify.Transition, commands *config.Commands) (notify.Hook, error) {
	found, err := commands.Hook(name)
	if err != nil {
		return notify.Hook{}, err
	}
	if err := unknown(t, commands); err != nil {
		return notify.Hook{}, err
	}
	return wanting(found, t)
}

// wanting is a hook that runs a command and wants a transition.
func wanting(found config.Hook, t notify.Transition) (notify.Hook, error) {
	hook, err := found.Build()
	switch {
	case err != nil:
		return hook, err
	case !hook.RunsCommand():
		return hook, fmt.Errorf("notify %q runs no command, so that it needs no helper", hook.Name)
	case !hook.Wants(t):
		return hook, fmt.Errorf("notify %q is not for %q of %q in the configuration of this host; if that changed, run: understudy reload",
			hook.Name, t.State, t.Instance)
	}
	return hook, nil
}

// lastHook is the hook that an instance or a group has had which a reload removed, for its end alone; refusal is what is said where
// there is none.
func (s *session) lastHook(name string, t notify.Transition, commands *config.Commands, refusal error) (notify.Hook, error) {
	what := "instance"
	if t.Group {
		what = "group"
	}
	if s.Memory == "" || t.State != notify.Stop || commands.Lacks(what, t.Instance) == nil {
		return notify.Hook{}, refusal
	}
	m, err := s.recall()
	if err != nil {
		return notify.Hook{}, fmt.Errorf("%w; what it was before is not known: %w", refusal, err)
	}
	last, ok := m.last(name, t, time.Now())
	if !ok {
		return notify.Hook{}, refusal
	}
	found, err := last.hook()
	if err != nil {
		return notify.Hook{}, err
	}
	hook, err := wanting(found, t)
	if err != nil {
		return notify.Hook{}, refusal
	}
	return hook, nil
}

// unknown says why a transition is of none that the configuration names. An instance or a group that a reload removed stops after
// that: its last hook names what is no longer there.
func unknown(t notify.Transition, commands *config.Commands) error {
	if t.State == notify.Stop {
		return nil
	}
	what := "instance"
	if t.Group {
		what = "group"
	}
	err := commands.Lacks(what, t.Instance)
	if err == nil && t.MemberOf != "" {
		err = commands.Lacks("group", t.MemberOf)
	}
	if err != nil {
		return fmt.Errorf("%w; if that changed, run: understudy reload", err)
	}
	return nil
}

// check runs a check once.
func (s *session) check(ctx context.Context, r request, commands *config.Commands) (answer, error) {
	found, err := commands.Check(r.Check)
	if err != nil {
		return answer{}, err
	}
	c, ok := found.Options.(checks.Commander)
	if !ok {
		return answer{}, fmt.Errorf("check %q runs no command, so that it needs no helper", r.Check)
	}
	ctx, cancel := r.within(ctx, found.Timing.Timeout)
	defer cancel()
	start := time.Now()
	finding, err := c.Privileged().Examine(ctx)
	return s.ran(start, err, answer{Word: cut(finding.Word), Output: finding.Output}), nil
}

// ran completes the answer of a run.
func (s *session) ran(start time.Time, err error, a answer) answer {
	took := time.Since(start)
	a.TookMS = took.Milliseconds()
	if err != nil {
		a.Error, a.Status = cut(err.Error()), -1
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			a.Status = exit.ExitCode()
		}
	}
	s.log.Debug("ran", append(s.about, "took", took.Round(time.Millisecond), "status", a.Status, "error", a.Error)...)
	return a
}

// within bounds a run by what the configuration allows, and by what the daemon will wait, less what the answer needs.
func (r request) within(ctx context.Context, allowed time.Duration) (context.Context, context.CancelFunc) {
	waits := time.Duration(r.TimeoutMS) * time.Millisecond
	bound := min(allowed, waits-min(waits/answerShare, answerMost))
	// The daemon took its time a moment after it began: 10 ms of rounding give the configured number back.
	return context.WithTimeoutCause(ctx, bound, overtime(min(allowed, max(waits.Round(10*time.Millisecond), time.Millisecond))))
}

// overtime is the cause of a context that ended with a run's time.
type overtime time.Duration

// Error names the time.
func (o overtime) Error() string { return "timed out after " + time.Duration(o).String() }

// Is makes it a context.DeadlineExceeded.
func (overtime) Is(target error) bool { return target == context.DeadlineExceeded }

// cut bounds a text that is sent.
func cut(s string) string {
	if len(s) > maxError {
		s = s[:maxError-len("...")] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
