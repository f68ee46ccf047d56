package notify

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/command"
	"github.com/understudy-ha/understudy/internal/command/commandtest"
)

// fakeDoor says what it was asked to run.
type fakeDoor struct {
	open  bool
	asked []string
}

func (d *fakeDoor) Open() bool { return d.open }

func (d *fakeDoor) Hook(_ context.Context, name string, t Transition) (command.Outcome, error) {
	d.asked = append(d.asked, name+" "+string(t.State))
	return command.Outcome{Output: "from behind\n"}, errors.New("no")
}

func TestThroughTheDoor(t *testing.T) {
	dir := commandtest.Dir(t)
	script := scriptHook(t, commandtest.Script(t, dir, "s", "id -un\n"))
	script.Name = "tell"
	if os.Geteuid() == 0 {
		script.Settings.User = "nobody"
	}
	door := new(fakeDoor)
	other := Hook{Name: "webhook", Settings: script.Settings, Runner: &fake{name: "webhook", book: newBook()}}
	hooks := Through([]Hook{script, other}, door)
	if hooks[1].Runner != other.Runner || hooks[1].RunsCommand() || !hooks[0].RunsCommand() {
		t.Error("what runs no command goes through the door too")
	}
	if err := hooks[0].Verify(); err != nil {
		t.Errorf("Verify: %v", err)
	}
	own, err := hooks[0].Run(t.Context(), example)
	if err != nil || own.LastLine() == "root" || len(door.asked) != 0 {
		t.Errorf("a closed door: %q, %v, asked %q; want it run here, as its user", own.Output, err, door.asked)
	}
	door.open = true
	outcome, err := hooks[0].Run(t.Context(), example)
	if outcome.Output != "from behind\n" || errorText(err) != "no" || len(door.asked) != 1 || door.asked[0] != "tell master" {
		t.Errorf("an open door: %q, %v, asked %q", outcome.Output, err, door.asked)
	}
}

func TestAPrivilegedHook(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for another user's script")
	}
	dir := commandtest.Dir(t)
	path := commandtest.Script(t, dir, "s", "id -un\n")
	hook := scriptHook(t, path)
	hook.Privileged = true
	hook.Settings.Timeout = 10 * time.Second
	if out, err := hook.Run(t.Context(), example); err != nil || out.LastLine() != "root" {
		t.Errorf("without a user: %q, %v", out.Output, err)
	}
	if err := os.Chown(path, 65534, -1); err != nil {
		t.Fatal(err)
	}
	hook.Settings.User = "nobody"
	for _, runner := range []Runner{hook.Runner, nginx{binary: path}} {
		hook.Runner = runner
		_, err := hook.Run(t.Context(), example)
		want := path + " is unsafe to run: " + path + " (mode 0755) belongs to nobody, not to root; only what nobody else can replace is run through the helper; chown root " + path
		if _, is := runner.(nginx); is {
			want = "test of nginx's configuration: " + want + "; nginx was not reloaded"
		}
		if errorText(err) != want {
			t.Errorf("its user's own script: %v, want %s", err, want)
		}
	}
	hook.Privileged, hook.Runner = false, script{command: []string{path}}
	if out, err := hook.Run(t.Context(), example); err != nil || out.LastLine() != "nobody" {
		t.Errorf("the same, run by a root daemon itself: %q, %v", out.Output, err)
	}
}
