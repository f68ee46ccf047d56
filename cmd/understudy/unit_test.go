package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

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
		if verb == "run" || verb == "helper" { // they go on; TestHelper and the others have their options
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
