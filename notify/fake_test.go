package notify

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/internal/command"
)

// fake is a Runner that takes a while and writes down what it was told.
type fake struct {
	name  string
	book  *book
	takes func(t Transition) time.Duration // until it succeeds; hang: until ctx ends
	fails func(t Transition) error
}

const hang = time.Hour

func (f *fake) Run(ctx context.Context, t Transition) (command.Outcome, error) {
	f.book.begin(f.name, t)
	defer f.book.end(t)
	if f.takes != nil {
		select {
		case <-time.After(f.takes(t)):
		case <-ctx.Done():
			return command.Outcome{}, context.Cause(ctx)
		}
	}
	if f.fails != nil {
		return command.Outcome{Output: "out\n"}, f.fails(t)
	}
	return command.Outcome{Output: "ok\n"}, nil
}

// book keeps what all fakes and reports of a test said.
type book struct {
	mu      sync.Mutex // guards what follows
	start   time.Time
	told    []string // "0s first web init->master"
	running map[subject]int
	most    int // hooks at once
	total   int
	overlap bool // two hooks of one instance at once
	reports []Report
}

func newBook() *book { return &book{start: time.Now(), running: make(map[subject]int)} }

func (b *book) begin(hook string, t Transition) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, fmt.Sprintf("%v %s %s %s->%s", time.Since(b.start), hook, t.Instance, t.Previous, t.State))
	b.running[t.subject()]++
	b.overlap = b.overlap || b.running[t.subject()] > 1
	b.total++
	b.most = max(b.most, b.total)
}

func (b *book) end(t Transition) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running[t.subject()]--
	b.total--
}

func (b *book) report(r Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reports = append(b.reports, r)
}

// taken gives the reports so far, once.
func (b *book) taken() []Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	reports := b.reports
	b.reports = nil
	return reports
}

// lines gives what the hooks were told so far.
func (b *book) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string{}, b.told...)
}

// results gives the reports so far in words.
func (b *book) results() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := []string{}
	for _, r := range b.reports {
		line := fmt.Sprintf("%v+%v %s %s->%s", r.At.Sub(b.start), r.Took, r.Hook, r.Instance, r.Transition.State)
		if len(r.Also) > 0 {
			line += fmt.Sprintf(" also %v", r.Also)
		}
		if r.Skipped > 0 {
			line += fmt.Sprintf(" skipped %d", r.Skipped)
		}
		if r.Err != nil {
			line += fmt.Sprintf(": %v", r.Err)
		}
		lines = append(lines, line)
	}
	return lines
}

// hook makes a hook of a fake that takes the same time for everything.
func (b *book) hook(name string, takes time.Duration, on ...State) Hook {
	return b.hookOf(&fake{name: name, takes: func(Transition) time.Duration { return takes }}, on...)
}

func (b *book) hookOf(f *fake, on ...State) Hook {
	f.book = b
	return Hook{Name: f.name, Kind: "fake", Settings: Settings{On: on, Timeout: 10 * time.Second}, Runner: f}
}

// begun runs a Notifier until the test's bubble ends, and gives its end to those who want it earlier.
func begun(t *testing.T, n *Notifier) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	synctest.Wait()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(end)
	return end
}

// moves gives an instance's transitions one after the other, with the states it goes through.
type moves struct {
	instance   string
	state      State
	generation uint64
}

func move(instance string) *moves { return &moves{instance: instance, state: "init"} }

func (m *moves) to(state State) Transition {
	m.generation++
	t := Transition{Instance: m.instance, State: state, Previous: m.state, Generation: m.generation}
	m.state = state
	return t
}
