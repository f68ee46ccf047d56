package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// Bounds of exchanging the program. Together they are less than an answer on the control socket may take.
const (
	// trialBound is how long the new program may take to read state and configuration.
	trialBound = 6 * time.Second
	// hooksBound is how long the hooks that run may go on.
	hooksBound = 8 * time.Second
	// calmBound is how long a calm moment is waited for: a handover takes a second or two.
	calmBound = 5 * time.Second
	// calmPoll is how often the loop looks for it.
	calmPoll = 2 * time.Millisecond
	// trialShare is which part of the time that the others wait for an advert the trial may have taken: the exchange takes about
	// as long again.
	trialShare = 2
)

// sealing asks the loop for its state at the first calm moment; take gets it in the loop's own goroutine.
type sealing struct {
	until time.Time
	take  func(*sealedState) error
	done  chan<- error
}

// TrialAnswer is what a program on trial writes to its standard output, and nothing else.
type TrialAnswer struct {
	Format  int    `json:"format"`
	Version string `json:"version"`
}

// Reexec makes this process the program that lies where it was started from, without letting go of anything. It returns only an
// error: why everything goes on as it was.
func (d *Daemon) Reexec(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case d.reexecs <- answer:
	case <-d.ended:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-d.ended:
		return errStopping
	}
}

// reexec tries, and keeps why it could not.
func (d *Daemon) reexec(ctx context.Context) error {
	err := d.exchange(ctx)
	r := node.ReexecReport{}
	if was := d.reexeced.Load(); was != nil {
		r = *was
	}
	r.Refused, r.RefusedAt = err.Error(), time.Now()
	d.reexeced.Store(&r)
	d.log.Error("the program was not exchanged; this one goes on as it was", "error", err)
	return err
}

// exchange returns why nothing was exchanged.
func (d *Daemon) exchange(ctx context.Context) error {
	if d.opts.Shadow {
		return errors.New("a shadow holds nothing that a restart would lose: restart it")
	}
	if d.opts.Program == "" {
		return errors.New("it is not known from which file this program was started")
	}
	tried, err := d.attempt()
	if err != nil {
		return fmt.Errorf("the new program: %w", err)
	}
	took, err := d.try(ctx)
	if err != nil {
		return err
	}
	defer d.monitors.resume()
	defer d.notifier.Resume()
	if err := d.quiet(ctx); err != nil {
		return err
	}
	return d.seal(ctx, func(s *sealedState) error { return d.become(s, tried, took) })
}

// attempt is what is tried: what lies on the disk, as far as it can be told apart without being read.
type attempt struct {
	program os.FileInfo
	config  map[string]string // path -> which file is there, and of when
}

// attempt looks at what is to be tried.
func (d *Daemon) attempt() (attempt, error) {
	program, err := os.Stat(d.opts.Program)
	return attempt{program, d.stamps()}, err
}

// changed says what of it is another by now.
func (a attempt) changed(now attempt, err error) error {
	switch {
	case err != nil || !os.SameFile(a.program, now.program) || !a.program.ModTime().Equal(now.program.ModTime()):
		return errors.New("the new program was replaced while it was tried; try again")
	case !maps.Equal(a.config, now.config):
		return errors.New("the configuration was changed while the new program was tried; try again")
	}
	return nil
}

// quiet waits until no hook and no check runs any more, and begins none. The hooks are first: they may take seconds, in which the
// checks go on, and hooks for what they find wait.
func (d *Daemon) quiet(ctx context.Context) error {
	hooks, cancel := context.WithTimeoutCause(ctx, hooksBound, fmt.Errorf("a hook still runs after %s; try again when it has ended", hooksBound))
	defer cancel()
	if err := d.notifier.Hold(hooks); err != nil {
		return err
	}
	d.monitors.pause()
	d.saver.wait() // what it still writes would end with this program
	return nil
}

// deadInterval is how long the other hosts wait for an advert of this one at least, for ever where it is no master.
func (s *sealedState) deadInterval() time.Duration {
	const ever = time.Hour
	shortest := ever
	for k, i := range s.Node.Config.Instances {
		if s.Node.Instances[k].State == node.Master {
			shortest = min(shortest, i.DeadInterval())
		}
	}
	return shortest
}

// become executes the new program, if it and what it reads are what was tried, in as little time as the others wait. A signal to stop that has
// come by now would be lost with this program.
func (d *Daemon) become(s *sealedState, tried attempt, took time.Duration) error {
	if err := tried.changed(d.attempt()); err != nil {
		return err
	}
	if wait := s.deadInterval(); took*trialShare > wait {
		return fmt.Errorf("the new program took %s to begin, and the other hosts wait only %s for an advert: restart the daemon, which hands over first",
			took.Round(time.Millisecond), wait)
	}
	if d.stop.Err() != nil {
		return errStopping
	}
	return d.execute(s)
}

// try has the new program read the state and the configuration, and says how long that took.
func (d *Daemon) try(ctx context.Context) (took time.Duration, err error) {
	var s *sealedState
	if err := d.seal(ctx, func(sealed *sealedState) error { s = sealed; return nil }); err != nil {
		return 0, err
	}
	state, err := s.file()
	if err != nil {
		return 0, err
	}
	defer func() { _ = state.Close() }()
	ctx, cancel := context.WithTimeoutCause(ctx, trialBound, fmt.Errorf("it did not answer within %s", trialBound))
	defer cancel()
	began := time.Now()
	out, err := linux.Try(ctx, d.opts.Program, append([]string{"reexec", "--trial", "--"}, os.Args[1:]...), state)
	took = time.Since(began)
	if err != nil {
		return 0, fmt.Errorf("%s refuses to go on from here: %w", d.opts.Program, err)
	}
	return took, judgeTrial(d.opts.Program, out)
}

// judgeTrial says why a program that wrote an answer cannot go on.
func judgeTrial(program string, out []byte) error {
	var answer TrialAnswer
	if err := json.Unmarshal(out, &answer); err != nil || answer.Format == 0 {
		return fmt.Errorf("%s cannot go on from here: it answers %q", program, firstLine(string(out)))
	}
	if answer.Format != sealedFormat {
		return fmt.Errorf("version %q has format %d of the sealed state, this one %d: restart the daemon, which hands over first",
			firstLine(answer.Version), answer.Format, sealedFormat)
	}
	return nil
}

// firstLine is as much of a text as fits a reason.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s[:min(len(s), 80)]
}

// file writes the state into memory.
func (s *sealedState) file() (*os.File, error) {
	text, err := s.encode()
	if err != nil {
		return nil, err
	}
	return linux.NewSealed("understudy-state", text)
}

// seal has the loop give its state away at a calm moment.
func (d *Daemon) seal(ctx context.Context, take func(*sealedState) error) error {
	done := make(chan error, 1)
	select {
	case d.sealings <- sealing{time.Now().Add(calmBound), take, done}:
	case <-d.ended:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-d.ended:
		return errStopping
	}
}

// trySeal gives the state to who waits for it, if this moment is calm.
func (l *loop) trySeal() {
	l.sealDue = nil
	if l.sealing == nil {
		return
	}
	l.take(batch) // what is left of a flood is lost, as it would be on the link
	l.elapsed()
	why := l.unrest()
	switch {
	case why == "":
		s, err := l.capture()
		if err == nil {
			err = l.sealing.take(s)
		}
		l.sealing.done <- err
	case time.Now().Before(l.sealing.until):
		l.sealDue = time.After(calmPoll)
		return
	default:
		l.sealing.done <- fmt.Errorf("there was no calm moment within %s: %s; try again", calmBound, why)
	}
	l.sealing = nil
}

// unrest says why the state would not be whole now.
func (l *loop) unrest() string {
	switch why := l.node.Unrest(time.Now()); {
	case why != "":
		return why
	case !l.addresses.rests():
		return "addresses are being set"
	case len(l.announcer.queue) > 0:
		return "addresses are being announced"
	case l.notifier.Owes():
		return "a hook of what a reload removed has not ended"
	}
	return ""
}

// execute is the last thing that this program does, unless it fails.
func (d *Daemon) execute(s *sealedState) error {
	state, err := s.file()
	if err != nil {
		return err
	}
	defer func() { _ = state.Close() }()
	files := []syscall.Conn{state}
	if d.control != nil {
		files = append(files, d.control.Files()...)
	}
	if d.opts.Flush != nil {
		d.opts.Flush()
	}
	return linux.Exec(d.opts.Program, inheritance, files...)
}
