package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/control"
)

// A daemon that starts at that very moment may have read the saved set before it was changed, and is asked then.
func TestDrainBesideADaemonThatStarts(t *testing.T) {
	f := &hostFlags{runtimeDir: t.TempDir(), stateDir: t.TempDir()}
	none := fmt.Errorf("%w (nobody answers)", control.ErrNotRunning)
	for name, tt := range map[string]struct {
		answers []error
		saved   bool
		want    error
	}{
		"it runs":              {[]error{nil}, false, nil},
		"it refuses":           {[]error{errors.ErrUnsupported}, false, errors.ErrUnsupported},
		"it has just started":  {[]error{none, nil}, true, nil},
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
