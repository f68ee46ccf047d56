// Package packaging holds what makes the packages; there is no code in it but tests.
package packaging

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// program is what the units start.
const program = "/usr/bin/understudy"

// exposureLimits are the worst that systemd-analyze security may say of a unit; keepalived's own has 9.6.
var exposureLimits = map[string]float64{"understudy.service": 2.5, "understudy-nginx.service": 1.0}

// units copies the units into a directory, as if the program were installed here. Their names come with it.
func units(t *testing.T) (dir string, names []string) {
	t.Helper()
	labtest.Require(t, "systemd-analyze")
	dir = t.TempDir()
	paths, err := filepath.Glob("systemd/*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d units: %v", len(paths), err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(text), program, self)), 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return dir, names
}

// pollLimit is what systemd before 255 says of the one key that it does not know yet, and needs none of: it has only the trigger limit.
var pollLimit = regexp.MustCompile(`(?m)^\S*/understudy-helper\.socket:\d+: Unknown key 'PollLimitIntervalSec' in section \[Socket\], ignoring\.\n`)

// TestUnits: systemd finds nothing else to say about the units, also with the drop-in for real-time scheduling.
func TestUnits(t *testing.T) {
	dir, names := units(t)
	verify := func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", append([]string{"verify", "--man=no", "--recursive-errors=no"}, names...)...).CombinedOutput()
		rest := pollLimit.ReplaceAll(out, nil)
		if excused := len(rest) < len(out); len(rest) > 0 || err != nil && !excused {
			t.Errorf("%v\n%s", err, out)
		}
	}
	t.Run("alone", verify)
	dropIn, err := os.ReadFile("examples/realtime.conf")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "understudy.service.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "understudy.service.d", "realtime.conf"), dropIn, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("with the drop-in", verify)
}

// TestExposure holds the sandboxes. What runs outside of them is the helper, which refuses what only root may decide.
func TestExposure(t *testing.T) {
	dir, _ := units(t)
	for unit, limit := range exposureLimits {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--no-pager", filepath.Join(dir, unit)).CombinedOutput()
		if _, exposed := errors.AsType[*exec.ExitError](err); err != nil && !exposed {
			t.Fatal(err)
		}
		level := regexp.MustCompile(`Overall exposure level for ` + regexp.QuoteMeta(unit) + `: ([0-9.]+)`).FindSubmatch(out)
		if level == nil {
			t.Fatalf("no level of %s: %v\n%s", unit, err, out)
		}
		if got, err := strconv.ParseFloat(string(level[1]), 64); err != nil || got > limit {
			t.Errorf("%s: exposure %s, at most %.1f (%v)\n%s", unit, level[1], limit, err, out)
		}
	}
}

// TestHelperIsNotLimited: 255 hooks at once are no reason for systemd to close the door, or to open it later.
func TestHelperIsNotLimited(t *testing.T) {
	text := strings.Split(read(t, "systemd/understudy-helper.socket"), "\n")
	for _, want := range []string{"TriggerLimitIntervalSec=0", "PollLimitIntervalSec=0"} {
		if !slices.Contains(text, want) {
			t.Errorf("understudy-helper.socket lacks %s", want)
		}
	}
}

// TestHelperAtShutdown: stop hooks come to the helper when the host already shuts down. A unit that then needs or waits for what is
// being stopped does not start, and systemd closes the socket.
func TestHelperAtShutdown(t *testing.T) {
	for path, want := range map[string][]string{
		"systemd/understudy-helper@.service": {"DefaultDependencies=no", "Slice=system.slice"},
		"systemd/understudy-helper.socket":   {"DefaultDependencies=no"},
	} {
		text := strings.Split(read(t, path), "\n")
		for _, line := range want {
			if !slices.Contains(text, line) {
				t.Errorf("%s lacks %s", path, line)
			}
		}
		for _, line := range text {
			key, _, _ := strings.Cut(line, "=")
			waits := []string{"Requires", "Requisite", "BindsTo", "Wants", "After", "Conflicts"}
			started := strings.HasSuffix(path, ".socket") && line == "After=sysinit.target" // it was long ago
			if slices.Contains(waits, key) && !started {
				t.Errorf("%s has %s", path, line)
			}
		}
	}
}

// TestUnitsMeanOneDaemon: whatever a unit starts is given the daemon's options. One that looks for the daemon elsewhere finds none, and
// nginx would stop with the addresses still here.
func TestUnitsMeanOneDaemon(t *testing.T) {
	units, err := filepath.Glob("systemd/*.service")
	if err != nil || len(units) < 3 {
		t.Fatalf("units %q: %v", units, err)
	}
	for _, path := range units {
		lines := strings.Split(read(t, path), "\n")
		for _, want := range []string{"EnvironmentFile=-/etc/default/understudy", "EnvironmentFile=-/etc/sysconfig/understudy"} {
			if !slices.Contains(lines, want) {
				t.Errorf("%s lacks %s", path, want)
			}
		}
		started := 0
		for _, line := range lines {
			if strings.HasPrefix(line, "Exec") {
				started++
				if !strings.Contains(line, program+" ") || !strings.HasSuffix(line, " $UNDERSTUDY_OPTIONS") {
					t.Errorf("%s starts something without the daemon's options: %s", path, line)
				}
			}
		}
		if started == 0 {
			t.Errorf("%s starts nothing", path)
		}
	}
}

// TestErrorsAreLogged: what a unit's program says of a failure is in the journal. Without a word StandardError= is StandardOutput='s.
func TestErrorsAreLogged(t *testing.T) {
	units, err := filepath.Glob("systemd/*.service")
	if err != nil || len(units) < 3 {
		t.Fatalf("units %q: %v", units, err)
	}
	for _, path := range units {
		lines := strings.Split(read(t, path), "\n")
		silent := slices.ContainsFunc(lines, func(line string) bool {
			return strings.HasPrefix(line, "StandardOutput=") && line != "StandardOutput=journal"
		})
		if silent && !slices.Contains(lines, "StandardError=journal") {
			t.Errorf("%s logs no error", path)
		}
	}
}
