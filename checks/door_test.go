package checks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
)

// fakeDoor counts what it was asked.
type fakeDoor struct {
	open  bool
	asked int
}

func (d *fakeDoor) Open() bool { return d.open }

func (d *fakeDoor) Check(context.Context, string) (Finding, error) {
	d.asked++
	return Finding{Output: "from behind\n"}, errors.New("no")
}

// TestAnUnansweredCheckKeepsItsResult tells that a helper which cannot be asked moves no address for a minute, whatever the last result
// was, and then does.
func TestAnUnansweredCheckKeepsItsResult(t *testing.T) {
	silent := fmt.Errorf("ask the helper: %w", ErrUnanswered)
	failed := errors.New("exit status 1")
	for _, tt := range []struct {
		name string
		last error
		word string
	}{{"healthy", nil, "as 59s ago: ask the helper: the helper did not answer"}, {"unhealthy", failed, ""}} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			c := &doorChecker{now: func() time.Time { return now }}
			if _, err := c.keep(Finding{}, silent); !errors.Is(err, ErrUnanswered) {
				t.Errorf("without a last result: %v", err)
			}
			if _, err := c.keep(Finding{}, tt.last); !errors.Is(err, tt.last) {
				t.Errorf("answered: %v", err)
			}
			now = now.Add(59 * time.Second)
			if f, err := c.keep(Finding{}, silent); !errors.Is(err, tt.last) || f.Word != tt.word {
				t.Errorf("after 59 s: %+v, %v, want %q, %v", f, err, tt.word, tt.last)
			}
			now = now.Add(2 * time.Second)
			if _, err := c.keep(Finding{}, silent); !errors.Is(err, ErrUnanswered) {
				t.Errorf("after 61 s: %v", err)
			}
		})
	}
}

func TestWhatGoesThroughTheDoor(t *testing.T) {
	path := commandtest.Script(t, commandtest.Dir(t), "s", "id -u")
	own, other := "root", "nobody"
	if os.Geteuid() != 0 {
		own, other = "nobody", "root" // whoever runs the test is neither; it cannot become one
	}
	tests := []struct {
		name    string
		options Options
		open    bool
		asked   bool
	}{
		{"a command of another user", &ScriptOptions{Command: []string{path}, User: other}, true, true},
		{"the same without a helper", &ScriptOptions{Command: []string{path}, User: other}, false, false},
		{"a command of the daemon's user", &ScriptOptions{Command: []string{path}, User: own}, true, os.Geteuid() != 0},
		{"a command of no user", &ScriptOptions{Command: []string{path}}, true, false},
		{"no command", &TCPOptions{Address: "127.0.0.1:1"}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checker, err := tt.options.New()
			if err != nil {
				t.Fatal(err)
			}
			door := &fakeDoor{open: tt.open}
			err = Through("c", tt.options, checker, door).Check(t.Context())
			if asked := door.asked == 1; asked != tt.asked {
				t.Errorf("asked %d times, want it through the door: %t", door.asked, tt.asked)
			}
			if tt.asked && (err == nil || err.Error() != "no") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestAPrivilegedCheck(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become nobody")
	}
	path := commandtest.Script(t, commandtest.Dir(t), "s", "id -un")
	for user, want := range map[string]string{"": "nobody", "games": "games", "root": "root"} {
		c := (&ScriptOptions{Command: []string{path}, User: user}).Privileged()
		if f, err := c.Examine(t.Context()); err != nil || f.Word != want || c.Preflight() != nil {
			t.Errorf("user %q: %+v, %v; want it run as %s", user, f, err, want)
		}
	}
	if err := os.Chmod(path, 0o775); err != nil {
		t.Fatal(err)
	}
	if (&ScriptOptions{Command: []string{path}}).Privileged().Preflight() == nil {
		t.Error("a script that its group can write is run")
	}
}
