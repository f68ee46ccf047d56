package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// command runs a command line and returns what a shell would see.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestUsageErrors(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string // on stderr
	}{
		{"an unknown command", []string{"bogus"}, `unknown command "bogus"`},
		{"a slip", []string{"valdate"}, `unknown command "valdate"; did you mean validate?`},
		{"another", []string{"drian"}, `unknown command "drian"; did you mean drain?`},
		{"an empty path", []string{"validate", ""}, "validate: one of the paths is empty"},
		{"an unknown flag", []string{"validate", "--nope"}, "unknown flag: --nope"},
		{"an unknown flag of no command", []string{"--nope"}, "unknown flag: --nope"},
		{"a flag without its value", []string{"run", "--node"}, "flag needs an argument: --node"},
		{"an argument too many for run", []string{"run", "x"}, `run: unknown command "x"`},
		{"an argument too many for drain", []string{"drain", "web"}, "drain: a host is drained as a whole"},
		{"an argument too many for undrain", []string{"undrain", "web"}, "undrain: a host is drained as a whole"},
		{"an argument too many for reexec", []string{"reexec", "web"}, `reexec: unknown argument "web"`},
		{"a trial of nothing", []string{"reexec", "--trial"}, "reexec --trial: the daemon's arguments are needed"},
		{"an argument too many for reload", []string{"reload", "web"}, "reload: "},
		{"an argument too many for version", []string{"version", "x"}, "version: "},
		{"an argument too many for helper", []string{"helper", "x"}, "helper: "},
		{"an argument too many for cleanup", []string{"cleanup", "x"}, "cleanup: "},
		{"two instances for status", []string{"status", "web", "mail"}, "status: accepts at most 1 arg(s), received 2"},
		{"paths twice for validate", []string{"validate", "--config", "a", "b"}, "write the paths behind validate or with --config, not both"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := command(t, tt.args...)
			if code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			if stdout != "" {
				t.Errorf("stdout is %q, want nothing", stdout)
			}
			help := "See understudy --help.\n" // of the command that was meant, which lists the options that there are
			if c, _, err := rootCommand().Find(tt.args); err == nil && c.HasParent() {
				help = "See understudy " + c.Name() + " --help.\n"
			}
			if !strings.Contains(stderr, "understudy: ") || !strings.Contains(stderr, tt.want) || !strings.HasSuffix(stderr, "\n"+help) {
				t.Errorf("stderr is %q, want %q and %q", stderr, tt.want, help)
			}
		})
	}
}

func TestNoCommandShowsAllOfThem(t *testing.T) {
	code, stdout, stderr := command(t)
	if code != exitOK || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	for _, c := range []string{"run", "validate", "status", "drain", "undrain", "reload", "cleanup", "helper", "version", "demo", "completion"} {
		if !strings.Contains(stdout, "\n  "+c+" ") {
			t.Errorf("%s is not in the list:\n%s", c, stdout)
		}
	}
}

// visible lists every command that help shows.
func visible(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		if !c.Hidden && c.Name() != "help" && c.Name() != "completion" {
			list = append(list, visible(c)...)
		}
	}
	return list
}

func TestHelpIsShortAndTrue(t *testing.T) {
	for _, c := range visible(rootCommand()) {
		t.Run(c.Name(), func(t *testing.T) {
			args := append(strings.Fields(c.CommandPath())[1:], "--help")
			code, stdout, stderr := command(t, args...)
			if code != exitOK || stderr != "" {
				t.Errorf("exit code %d, stderr %q", code, stderr)
			}
			lines := strings.Split(strings.TrimSpace(stdout), "\n")
			if len(lines) > 30 {
				t.Errorf("%d lines; a screen has fewer", len(lines))
			}
			for _, line := range lines {
				if len(line) > 160 {
					t.Errorf("a line of %d characters: %s", len(line), line)
				}
			}
			if s := c.Short; s == "" || strings.HasSuffix(s, ".") || len(s) > 90 {
				t.Errorf("its line in the list is %q", s)
			}
		})
	}
}

// TestHelpNamesNoFlagInVain: --state-dir is shown where it changes something, and taken everywhere.
func TestHelpNamesNoFlagInVain(t *testing.T) {
	for command, shown := range map[string]bool{
		"run": true, "drain": true, "undrain": true, "cleanup": true, "status": false, "reload": false, "reexec": false,
	} {
		cmd, _, err := rootCommand().Find([]string{command})
		if err != nil {
			t.Fatal(err)
		}
		if f := cmd.Flags().Lookup("state-dir"); f == nil || f.Hidden == shown {
			t.Errorf("%s: shown is %t, want %t", command, f != nil && !f.Hidden, shown)
		}
	}
}

// What the help says of exit codes is what the constants are.
func TestHelpNamesTheExitCodes(t *testing.T) {
	tests := []struct {
		command string
		want    []string
	}{
		{"status", []string{
			fmt.Sprintf("%d for master", exitOK), fmt.Sprintf("%d for backup or init", exitBackup),
			fmt.Sprintf("%d for fault or drained", exitFault), fmt.Sprintf("%d when the daemon does not run", exitNotRunning),
			fmt.Sprintf("%d when it does not answer", exitSilent), fmt.Sprintf("%d when it goes on and somebody should look", exitLook), fmt.Sprintf("%d when an instance is in fault", exitFault),
		}},
		{"drain", []string{fmt.Sprintf("%d when nobody took them", exitNobodyTook), fmt.Sprintf("%d when it is done but", exitUnsaved), fmt.Sprintf("%d when this host had to let go", exitDropped)}},
		{"validate", []string{"Exits 0 when", "1 when it cannot"}},
	}
	for _, tt := range tests {
		_, stdout, _ := command(t, tt.command, "--help")
		text := strings.Join(strings.Fields(stdout), " ")
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s --help does not say %q:\n%s", tt.command, want, stdout)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	defer func(was string) { release = was }(release)
	release = "1.2.3"
	want := fmt.Sprintf("understudy 1.2.3 %s linux/%s\n", runtime.Version(), runtime.GOARCH)
	for _, how := range []string{"version", "--version"} {
		if code, stdout, _ := command(t, how); code != exitOK || stdout != want {
			t.Errorf("%s: exit code %d, %q, want %q", how, code, stdout, want)
		}
	}
	release = ""
	if v := version(); !strings.HasPrefix(v, "devel") && v != "unknown" {
		t.Errorf("without a release the version is %q", v)
	}
}

// validConfig is a pair's configuration with nothing to complain about.
const validConfig = `
instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10"]

  expect "lb1" {}
  expect "lb2" {}
}

check "tcp" "listener" {
  address = "127.0.0.1:443"
}
`

// warnedConfig works, and validate has something to say about it: without expect the weight proves nothing.
const warnedConfig = `
instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
}

check "tcp" "listener" {
  address = "127.0.0.1:443"
  weight  = -60
}
`

const brokenConfig = `
instance "web" {
  interface = "eth0"
  vrid      = 300
  prioritty = 150
  addresses = ["192.0.2.10"]
}
`

// file writes a configuration and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestValidate(t *testing.T) {
	valid, warned, bad := file(t, "any-name", validConfig), file(t, "warned.hcl", warnedConfig), file(t, "broken.hcl", brokenConfig)
	tests := []struct {
		name string
		args []string
		code int
		want []string // on stdout
	}{
		{"a valid file", []string{valid, "--node", "lb1", "--node", "lb2"}, exitOK, []string{"valid for [lb1 lb2]: 0 errors, "}},
		{"by --config", []string{"--config", valid, "--node", "lb1"}, exitOK, []string{"valid for [lb1]: 0 errors, "}},
		{"a warning", []string{warned, "--node", "lb1"}, exitOK, []string{warned + ":", "warning: ", "valid for [lb1]: 0 errors, "}},
		{"a warning, strictly", []string{warned, "--node", "lb1", "--strict"}, exitError, []string{"not valid for [lb1]: 0 errors, "}},
		{"a broken file", []string{bad, "--node", "lb1"}, exitError, []string{
			bad + ":4:", "vrid is 300", bad + ":5:", "prioritty", `Did you mean "priority"`, "not valid for [lb1]: "}},
		{"a host that is not in it", []string{valid, "--node", "buildbox", "--node", "lb1"}, exitError, []string{
			`error: on buildbox: node "buildbox" is not in {lb1, lb2}; `, "not valid for [buildbox] of [buildbox lb1]: 1 error, 0 warnings"}},
		{"a file that is not there", []string{"/nonexistent/x.hcl", "--node", "lb1"}, exitError, []string{"/nonexistent/x.hcl does not exist"}},
		{"JSON", []string{bad, "--node", "lb1", "--json"}, exitError, []string{`"error"`, "vrid is 300", `"line"`}},
		{"JSON of a valid file", []string{valid, "--node", "lb1", "--json"}, exitOK, []string{"{"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := command(t, append([]string{"validate"}, tt.args...)...)
			if code != tt.code || stderr != "" {
				t.Errorf("exit code %d, want %d; stderr %q", code, tt.code, stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(strings.ToLower(stdout), strings.ToLower(want)) {
					t.Errorf("%q is not in:\n%s", want, stdout)
				}
			}
		})
	}
}

func TestCommandsWithoutADaemon(t *testing.T) {
	dirs := []string{"--runtime-dir", t.TempDir(), "--state-dir", t.TempDir()}
	tests := []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"status", []string{"status", dirs[0], dirs[1]}, exitNotRunning, "", "understudy: understudy is not running (nobody answers on " + filepath.Join(dirs[1], "control.sock") + "): start it, or name its --runtime-dir\n"},
		{"status of an instance", []string{"status", "web", dirs[0], dirs[1]}, exitNotRunning, "", "is not running"},
		{"reload", []string{"reload", dirs[0], dirs[1]}, exitError, "", "is not running"},
		{"reexec", append([]string{"reexec"}, dirs...), exitError, "", "is not running"},
		{"a trial with an unknown flag", []string{"reexec", "--trial", "--", "run", "--nope"}, exitError, "", "the daemon was started with arguments that this version does not know: unknown flag: --nope"},
		{"a trial with a broken configuration", []string{"reexec", "--trial", "--", "run", "--config", file(t, "b.hcl", brokenConfig), "--node", "lb1"}, exitError, "", "the configuration is not valid for this version:\n"},
		{"drain is kept for the next start", append([]string{"drain"}, dirs...), exitOK, "understudy is not running: drained from its next start\n", ""},
		{"drain again", append([]string{"drain", "--for", "admin"}, dirs...), exitOK, "understudy is not running: drained from its next start\n", ""},
		{"undrain", append([]string{"undrain"}, dirs...), exitOK, "understudy is not running: undrained from its next start\n", ""},
		{"undrain for nobody", append([]string{"undrain", "--for", "bogus"}, dirs...), exitOK, "understudy is not running: undrained from its next start (there was no drain for bogus)\n", ""},
		{"a drain that cannot be kept", []string{"drain", dirs[0], dirs[1], "--state-dir", "/proc/none"}, exitError, "", "understudy: save drains: mkdir /proc/none: no such file or directory\n"},
		{"run with a configuration that is not there", append([]string{"run", "--config", "/nonexistent"}, dirs...), exitError, "", "/nonexistent does not exist"},
		{"run with a broken one", append([]string{"run", "--config", file(t, "b.hcl", brokenConfig), "--node", "lb1"}, dirs...), exitError, "", "the configuration is not valid; nothing was started"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := command(t, tt.args...)
			if code != tt.code || stdout != tt.stdout || !strings.Contains(stderr, tt.stderr) || (tt.stderr == "") != (stderr == "") {
				t.Errorf("exit code %d, want %d\nstdout %q, want %q\nstderr %q, want %q", code, tt.code, stdout, tt.stdout, stderr, tt.stderr)
			}
		})
	}
	left, err := os.ReadDir(dirs[1])
	if err != nil || len(left) > 0 {
		t.Errorf("the runtime directory holds %v, error %v; nothing was started", left, err)
	}
}
