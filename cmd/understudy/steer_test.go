package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestDrained: another host has an address only if one was heard to take over, and who reads the exit code alone is told the worst.
func TestDrained(t *testing.T) {
	taken := node.Drained{
		Moved: []string{"web", "inside", "mail", "old"}, To: map[string]string{"web": "10.0.0.12", "inside": "10.0.0.13", "mail": "10.0.0.12"},
	}
	kept, dropped := node.Drained{Kept: []string{"web", "mail"}}, node.Drained{Dropped: []string{"web"}, Why: map[string]string{"web": "fault: no carrier"}}
	all := node.Drained{
		Moved: []string{"a"}, To: map[string]string{"a": "10.0.0.12"}, Kept: []string{"b"}, Dropped: []string{"c"},
		Why: map[string]string{"c": "backup: woke late"}, Dead: []string{"d"}, Removed: []string{"e"}, Unsaved: "disk full",
	}
	unsaved := node.Drained{Kept: []string{"b"}, Unsaved: "disk full"}
	const (
		isDropped = "understudy: this host has let go of %s, and nobody was heard to take over (%s)\n"
		isUnsaved = "understudy: not saved, it holds until this daemon ends: disk full\n"
		isKept    = "nobody took over %s: this host serves on, and offers it again\n"
	)
	for _, tt := range []struct {
		name, out, err string
		d              node.Drained
		code           int
	}{
		{"nothing was here", "drained: this host held no address\n", "", node.Drained{}, exitOK},
		{"others have it", "drained: another host has old\ndrained: 10.0.0.12 has web, mail\ndrained: 10.0.0.13 has inside\n", "", taken, exitOK},
		{"nobody came", fmt.Sprintf(isKept, "web, mail"), "", kept, exitNobodyTook},
		{"let go", "", fmt.Sprintf(isDropped, "web", "fault: no carrier"), dropped, exitDropped},
		{"not saved, and nobody came", fmt.Sprintf(isKept, "b"), isUnsaved, unsaved, exitUnsaved},
		{"all at once", "drained: 10.0.0.12 has a\nwhat serves d has ended: the handover goes on, and was not waited for\n" +
			"e: no longer configured here, and no longer on this host\n" + fmt.Sprintf(isKept, "b"),
			fmt.Sprintf(isDropped, "c", "backup: woke late") + isUnsaved, all, exitDropped},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			cmd := &cobra.Command{}
			cmd.SetOut(&stdout)
			cmd.SetErr(&stderr)
			err := drained(cmd, tt.d)
			code, _ := errors.AsType[exitCode](err)
			if diff := cmp.Diff([]string{tt.out, tt.err}, []string{stdout.String(), stderr.String()}); diff != "" || int(code) != tt.code {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// A daemon that starts at that very moment may have read the saved set before it was changed, and is asked then.
func TestDrainBesideADaemonThatStarts(t *testing.T) {
	f := &hostFlags{runtimeDir: t.TempDir(), stateDir: t.TempDir()}
	frozen := &control.SilentError{PID: 1}
	none := fmt.Errorf("%w (nobody answers)", control.ErrNotRunning)
	for name, tt := range map[string]struct {
		answers []error
		saved   bool
		want    error
	}{
		"it runs":              {[]error{nil}, false, nil},
		"it refuses":           {[]error{errors.ErrUnsupported}, false, errors.ErrUnsupported},
		"it has just started":  {[]error{none, nil}, true, nil},
		"it is frozen":         {[]error{frozen}, false, frozen},
		"there is none at all": {[]error{none, none}, true, control.ErrNotRunning},
	} {
		asked := 0
		err := steered(f, name, true, func(*control.Client) error { asked++; return tt.answers[asked-1] })
		saved, loadErr := savedDrains(f).Load()
		if !errors.Is(err, tt.want) || asked != len(tt.answers) || slices.Contains(saved, name) != tt.saved || loadErr != nil {
			t.Errorf("%s: %v after %d questions, saved %v, %v", name, err, asked, saved, loadErr)
		}
	}
}

// What a running daemon would not take must not be saved for the next one either: nothing could lift it while that runs.
func TestDrainsWithoutADaemonHaveANameToo(t *testing.T) {
	f := &hostFlags{runtimeDir: t.TempDir(), stateDir: t.TempDir()}
	for _, name := range []string{"", strings.Repeat("x", 65)} {
		err := steered(f, name, true, func(*control.Client) error { return control.ErrNotRunning })
		saved, loadErr := savedDrains(f).Load()
		if err == nil || errors.Is(err, control.ErrNotRunning) || len(saved) > 0 || loadErr != nil {
			t.Errorf("%d characters: %v, saved %q, %v", len(name), err, saved, loadErr)
		}
	}
}
