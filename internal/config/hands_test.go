package config

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
)

const commands = `
check "script" "own" {
  command = ["/bin/true"]
}
check "script" "backends" {
  command = ["/bin/true"]
  user    = "games"
}
notify "script" "tell" {
  on      = ["master"]
  command = ["/bin/true"]
}
notify "nginx" "reload" {
  on     = ["master"]
  binary = "/bin/true"
  user   = "games"
}
notify "script" "same" {
  on      = ["master"]
  command = ["/bin/true"]
  user    = "daemon"
}
`

// TestWhoRunsCommands: what is said of hooks and checks that the daemon cannot run as it is written.
func TestWhoRunsCommands(t *testing.T) {
	const (
		hook  = `this hook runs as daemon (uid 1) and not as root: the daemon is not root, and no helper listens at /s; run: systemctl start understudy-helper.socket, or write user = "daemon"`
		nginx = `this hook cannot run as "games": the daemon is daemon (uid 1), and no helper listens at /s; run: systemctl start understudy-helper.socket`
		check = `"games": the daemon is daemon (uid 1), and no helper listens at /s; run: systemctl start understudy-helper.socket`
	)
	alone := hands{uid: 1, elsewhere: "no helper listens at /s"}
	able := alone
	able.anybody = true
	tests := []struct {
		name  string
		hands hands
		here  bool // the daemon itself, not validate
		want  []string
	}{
		{"root", hands{anybody: true}, true, nil},
		{"root without the right to", hands{elsewhere: "it lacks CAP_SETUID and CAP_SETGID"}, true, []string{
			`12:1: error: this check cannot run: not as "games": the daemon is root (uid 0), and it lacks CAP_SETUID and CAP_SETGID; give the daemon these capabilities`,
			`20:1: warning: this hook cannot run as "games": the daemon is root (uid 0), and it lacks CAP_SETUID and CAP_SETGID; give the daemon these capabilities`,
			`25:1: warning: this hook cannot run as "daemon": the daemon is root (uid 0), and it lacks CAP_SETUID and CAP_SETGID; give the daemon these capabilities`,
		}},
		{"a daemon without one", alone, true, []string{"12:1: error: this check cannot run: not as " + check, "16:1: warning: " + hook, "20:1: warning: " + nginx}},
		{"a daemon that may become anybody", able, true, []string{"16:1: warning: " + hook}},
		{"validate where it was installed", alone, false, []string{
			"12:1: warning: on this host: this check cannot run: not as " + check, "16:1: warning: on this host: " + hook, "20:1: warning: on this host: " + nginx,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, minimal+commands)
			v := evaluate(read([]string{path}), loader{node: "lb1", getenv: noEnvironment, here: true, onThisHost: tt.here, hands: tt.hands})
			var got []string
			for _, f := range v.found {
				got = append(got, strings.TrimPrefix(f.String(), path+":"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestTheHelperJudgesTheConfiguration: what it refuses the daemon says at its start.
func TestTheHelperJudgesTheConfiguration(t *testing.T) {
	const hook = "\nnotify \"script\" \"tell\" {\n  on      = [\"master\"]\n  command = [\"/bin/true\"]\n}\n"
	const check = "\ncheck \"script\" \"backends\" {\n  command = [\"/bin/true\"]\n  user    = \"games\"\n}\n"
	for _, tt := range []struct {
		name, text string
		here       bool
		want       string // "" for nothing
	}{
		{"nobody needs the helper", "", true, ""},
		{"a hook does", hook, true, "warning"},
		{"a check does", hook + check, true, "error"},
		{"validate, of a file that is not in its place yet", hook + check, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, minimal+tt.text)
			if err := os.Chmod(path, 0o666); err != nil {
				t.Fatal(err)
			}
			v := evaluate(read([]string{path}), loader{node: "lb1", getenv: noEnvironment, here: true, onThisHost: tt.here, hands: hands{uid: 1, door: true}})
			want := fmt.Sprintf("%s:1:1: %s: the helper runs nothing while this is so: %[1]s is unsafe to trust: everybody may write to ", path, tt.want)
			if tt.want == "" && len(v.found) != 0 || tt.want != "" && (len(v.found) != 1 || !strings.HasPrefix(v.found[0].String(), want)) {
				t.Errorf("found %v, want %s", v.found, want)
			}
		})
	}
}

func TestHands(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	offline, daemon := Options{Helper: socket}, Options{Helper: socket, OnThisHost: true}
	if got := offline.handsOf("understudy-no-such"); got != (hands{anybody: true}) {
		t.Errorf("validate on any machine: %+v", got)
	}
	if got, want := offline.handsOf("daemon"), (hands{uid: 1, socket: socket, elsewhere: "no helper listens at " + socket}); got != want {
		t.Errorf("validate where the package is: %+v, want %+v", got, want)
	}
	if got := (Options{}).handsOf("daemon"); got != (hands{anybody: true}) {
		t.Errorf("nobody asked: %+v", got)
	}
	if got := daemon.handsOf("daemon"); os.Geteuid() == 0 && got != (hands{anybody: true, elsewhere: "it lacks CAP_SETUID and CAP_SETGID"}) {
		t.Errorf("a root daemon: %+v", got)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if got := offline.handsOf("daemon"); !got.door || got.uid != 1 {
		t.Errorf("with the helper's socket: %+v", got)
	}
}

// TestTheHelperJudgesPrograms: what the helper would refuse is said at the start.
func TestTheHelperJudgesPrograms(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for a script of another user's")
	}
	dir := commandtest.Dir(t)
	script := commandtest.Script(t, dir, "s", "true")
	if err := os.Chown(script, 5, 60); err != nil {
		t.Fatal(err)
	}
	path := writeFile(t, minimal+fmt.Sprintf(`
check "script" "own" {
  command = [%[1]q]
  user    = "games"
}
notify "script" "tell" {
  on      = ["master"]
  command = [%[1]q]
  user    = "games"
}
notify "script" "shell" {
  on      = ["master"]
  command = ["/bin/sh", %[1]q]
}
`, script))
	refused := script + " is unsafe to run: " + script + " (mode 0755) belongs to games, not to root; only what nobody else can replace is run through the helper; chown root " + script
	for door, want := range map[bool][]string{
		false: {
			"18:1: warning: this hook cannot run: " + strings.Replace(refused, "not to root; only what nobody else can replace is run through the helper",
				"who is neither root nor the user that runs it (root)", 1),
		},
		true: {
			"9:1: error: this check cannot run: " + refused,
			"13:1: warning: this hook cannot run: " + refused,
			"18:1: warning: this hook cannot run: " + refused,
		},
	} {
		v := evaluate(read([]string{path}), loader{node: "lb1", getenv: noEnvironment, here: true, onThisHost: true, hands: hands{uid: 1, anybody: !door, door: door}})
		var got []string
		for _, f := range v.found {
			if text := strings.TrimPrefix(f.String(), path+":"); !strings.Contains(text, "unsafe to trust") && !strings.Contains(text, "not as root") {
				got = append(got, text)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("with a helper: %t (-want +got):\n%s", door, diff)
		}
	}
}
