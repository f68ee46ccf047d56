package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/daemon"
)

// started are the command lines of the units, without the program and the daemon's options.
func started(t *testing.T) (lines [][]string) {
	t.Helper()
	units, err := filepath.Glob("../../packaging/systemd/*.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^Exec\w+=\S*/understudy (.*) \$UNDERSTUDY_OPTIONS$`).FindAllStringSubmatch(string(text), -1) {
			lines = append(lines, strings.Fields(m[1]))
		}
	}
	return lines
}

// TestUnitsFindTheDaemonOfTheOptions: what the units start beside the daemon takes its options, and goes by the directories among them.
func TestUnitsFindTheDaemonOfTheOptions(t *testing.T) {
	runtime, state := t.TempDir(), t.TempDir()
	options := []string{"--node", "lb1", "--config", "/etc/understudy", "--shadow", "--helper", "", "--runtime-dir", runtime, "--state-dir", state}
	drained := func() bool {
		names, err := daemon.Drains{StateDir: state, RuntimeDir: runtime}.Load()
		if err != nil {
			t.Fatal(err)
		}
		return slices.Contains(names, "nginx-stop")
	}
	seen := map[string]bool{}
	for _, line := range started(t) {
		verb := line[0]
		seen[verb] = true
		if verb == "run" || verb == "helper" { // they go on; the tests of their own have their options
			continue
		}
		was := drained()
		code, stdout, stderr := command(t, slices.Concat(line, options)...)
		switch verb {
		case "drain", "undrain":
			if code != exitOK || drained() != (verb == "drain") {
				t.Errorf("%s: exit code %d, %q %q; drained %t, then %t", line, code, stdout, stderr, was, drained())
			}
		case "reload":
			if code != exitError || !strings.Contains(stderr, runtime) {
				t.Errorf("%s: exit code %d, %q", line, code, stderr)
			}
		case "cleanup":
			if code != exitOK || !strings.Contains(stdout, runtime) {
				t.Errorf("%s: exit code %d, %q %q", line, code, stdout, stderr)
			}
		default:
			t.Errorf("%s: not known here", line)
		}
	}
	for _, verb := range []string{"run", "helper", "drain", "undrain", "reload", "cleanup"} {
		if !seen[verb] {
			t.Errorf("no unit starts %s", verb)
		}
	}
}

// TestUnitsStartWithWhatTheDaemonReads: systemd passes over a unit whose condition does not hold without a word, so it must hold for
// whatever the daemon would read, and for nothing else.
func TestUnitsStartWithWhatTheDaemonReads(t *testing.T) {
	for _, unit := range []string{"understudy.service", "understudy-nginx.service"} {
		text, err := os.ReadFile("../../packaging/systemd/" + unit)
		if err != nil {
			t.Fatal(err)
		}
		conditions := regexp.MustCompile(`(?m)^ConditionPathExistsGlob=\|`+defaultConfig+`/(.*)$`).FindAllStringSubmatch(string(text), -1)
		for name, reads := range map[string]bool{
			"understudy.hcl": true, "understudy.hcl.json": true, "web.hcl": true, "web.hcl.json": true,
			"checks.d/nginx.hcl": true, "checks.d/nginx.hcl.json": true, "conf.d/web.hcl": true, "conf.d/web.hcl.json": true,
			"understudy.hcl.example": false, ".web.hcl": false, "web.key": false, "README": false, "notify.d/web.hcl": false,
			"conf.d/.web.hcl": false, "conf.d/web.conf": false, "conf.d/web.hcl.dpkg-old": false, "conf.d/old/web.hcl": false,
		} {
			dir := t.TempDir()
			for _, sub := range []string{"checks.d", "conf.d", filepath.Dir(name)} {
				if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o644); err != nil {
				t.Fatal(err)
			}
			_, found := config.Load([]string{dir}, config.Options{Node: "lb1"})
			if got := len(found.Sources) > 0; got != reads {
				t.Errorf("the daemon reads %s: %t, want %t", name, got, reads)
			}
			starts := slices.ContainsFunc(conditions, func(c []string) bool {
				matches, err := filepath.Glob(filepath.Join(dir, c[1]))
				if err != nil {
					t.Fatal(err)
				}
				// Unlike a shell's and systemd's, an asterisk of Go's matches a dot in front.
				return slices.ContainsFunc(matches, func(path string) bool { return !strings.HasPrefix(filepath.Base(path), ".") })
			})
			if starts != reads {
				t.Errorf("%s starts with %s: %t, want %t", unit, name, starts, reads)
			}
		}
	}
}

func TestTheDaemonsOptionsOfACommand(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	tests := []struct {
		name string
		args []string
		code int
		said string
	}{
		{"none", []string{"cleanup", "--runtime-dir", a, "--"}, exitOK, "runtime directory " + a},
		{"its own come first", []string{"cleanup", "--runtime-dir", a, "--", "--runtime-dir", b}, exitOK, "runtime directory " + a},
		{"not before the dash", []string{"drain", "--node", "lb2"}, exitUsage, "unknown flag: --node"},
		{"an argument before it", []string{"drain", "lb2", "--", "--runtime-dir", a}, exitUsage, `"lb2"`},
		{"an unknown one", []string{"drain", "--", "--nope"}, exitUsage, "drain: the daemon's options: unknown flag: --nope"},
		{"an argument", []string{"drain", "--", "nope"}, exitUsage, "drain: the daemon's options: unknown argument nope"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := command(t, tt.args...)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.said) {
				t.Errorf("exit code %d, want %d; %q %q, want %q", code, tt.code, stdout, stderr, tt.said)
			}
		})
	}
}
