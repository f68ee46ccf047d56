package notify

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
)

// scriptHook makes a hook of kind script as the configuration does.
func scriptHook(t *testing.T, argv ...string) Hook {
	t.Helper()
	runner, err := (&ScriptOptions{Command: argv}).New()
	if err != nil {
		t.Fatal(err)
	}
	return Hook{Name: "tell", Kind: "script", Settings: Settings{On: States, Timeout: 10 * time.Second}, Runner: runner}
}

// write puts a file into dir as it is, without a #! line.
func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	// A process forked while the file is open for writing would make its execution fail with ETXTBSY.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// lastState is the script that many hosts have: the state is all that it looks at.
const lastState = `case "$3" in
MASTER) echo "take over" ;;
BACKUP|FAULT|STOP) echo "stand back" ;;
*) echo "unknown state: $3"; exit 1 ;;
esac
`

// named is the other usual form: all of keepalived's arguments, by name.
const named = `TYPE=$1
NAME=$2
STATE=$3
case $STATE in
	"MASTER") echo "$TYPE $NAME: start, priority $4"; exit 0 ;;
	"BACKUP") echo "$TYPE $NAME: stop"; exit 0 ;;
	"FAULT")  echo "$TYPE $NAME: broken"; exit 0 ;;
	*)        echo "$TYPE $NAME: unknown $STATE"; exit 1 ;;
esac
`

func TestScriptsWrittenForKeepalived(t *testing.T) {
	dir := commandtest.Dir(t)
	withLine := commandtest.Script(t, dir, "named.sh", named)
	onlyState := commandtest.Script(t, dir, "state.sh", lastState)
	withoutLine := write(t, dir, "bare.sh", named)
	arguments := commandtest.Script(t, dir, "arguments.sh", `echo "$# $*"`+"\n")
	state := func(s State) Transition {
		t := example
		t.State = s
		return t
	}
	tests := []struct {
		name   string
		argv   []string
		t      Transition
		output string
		err    string
	}{
		{"a case on the state: master", []string{withLine}, state(Master), "INSTANCE web: start, priority 150\n", ""},
		{"a case on the state: backup", []string{withLine}, state(Backup), "INSTANCE web: stop\n", ""},
		{"a case on the state: fault", []string{withLine}, state(Fault), "INSTANCE web: broken\n", ""},
		{"an exit status of the script is kept", []string{withLine}, state(Stop), "INSTANCE web: unknown STOP\n", "exit status 1"},
		{"a group", []string{withLine}, Transition{Group: true, Instance: "edge", State: Backup}, "GROUP edge: stop\n", ""},
		{"only the third argument", []string{onlyState}, state(Stop), "stand back\n", ""},
		{"no #! line", []string{withoutLine}, state(Master), "INSTANCE web: start, priority 150\n", ""},
		{"no #! line, and a failure", []string{withoutLine}, state(Stop), "INSTANCE web: unknown STOP\n", "exit status 1"},
		{"its own arguments come first", []string{arguments, "-v", "a b"}, state(Master), "6 -v a b INSTANCE web MASTER 150\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			outcome, err := scriptHook(t, tt.argv...).run(t.Context(), tt.t)
			if outcome.Output != tt.output || errorText(err) != tt.err {
				t.Errorf("output %q, error %q; want %q, %q", outcome.Output, errorText(err), tt.output, tt.err)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestScriptEnvironment(t *testing.T) {
	t.Setenv("LD_PRELOAD", "")
	t.Setenv("UNDERSTUDY_REASON", "stale")
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	dir := commandtest.Dir(t)
	script := commandtest.Script(t, dir, "env.sh", "env | grep -E '^(UNDERSTUDY_|LD_|NOTIFY_)' | sort\n")
	transition := example
	transition.Reason = "check nginx: line one\nline two\x00"
	outcome, err := scriptHook(t, script).run(t.Context(), transition)
	if err != nil {
		t.Fatal(err)
	}
	want := `UNDERSTUDY_ADDRESSES=192.0.2.10 2001:db8::10
UNDERSTUDY_GENERATION=7
UNDERSTUDY_GROUP=
UNDERSTUDY_INSTANCE=web
UNDERSTUDY_INTERFACE=eth0
UNDERSTUDY_NODE=lb1
UNDERSTUDY_PEER=
UNDERSTUDY_PEER_MAC=
UNDERSTUDY_PREVIOUS=init
UNDERSTUDY_PRIORITY=150
UNDERSTUDY_REASON=check nginx: line one line two 
UNDERSTUDY_STATE=master
`
	if diff := cmp.Diff(want, outcome.Output); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestScriptThatCannotRun(t *testing.T) {
	dir := commandtest.Dir(t)
	empty := write(t, dir, "empty", "")
	foreign := write(t, dir, "foreign", "\x7fELF\x02\x01\x01not for this host")
	short := write(t, dir, "short", ":")
	loose := commandtest.Script(t, dir, "loose", "exit 0\n")
	if err := os.Chmod(loose, 0o777); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, want string }{
		{"an empty file is no success", empty, empty + " is empty, so that it cannot tell anybody anything"},
		{"a program for another processor is not given to the shell", foreign,
			foreign + " is a program that this host cannot execute, perhaps one for another processor"},
		{"the shortest script runs", short, ""},
		{"a missing file", dir + "/none", dir + "/none: no such file or directory"},
		{"a file that everybody may write", loose,
			loose + " is unsafe to run: everybody may write to " + loose + " (mode 0777); chmod go-w " + loose},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := scriptHook(t, tt.path).run(t.Context(), example); errorText(err) != tt.want {
				t.Errorf("error %q, want %q", errorText(err), tt.want)
			}
		})
	}
	if err := scriptHook(t, dir+"/none").Verify(); errorText(err) != dir+"/none: no such file or directory" {
		t.Errorf("Verify of a missing file: %v", err)
	}
	if err := scriptHook(t, short).Verify(); err != nil {
		t.Errorf("Verify of a good script: %v", err)
	}
}

func TestScriptTimeoutKillsTheGroup(t *testing.T) {
	dir := commandtest.Dir(t)
	for name, path := range map[string]string{
		"with a #! line":    commandtest.Script(t, dir, "hang.sh", "sleep 300 & echo $!; wait\n"),
		"without a #! line": write(t, dir, "bare.sh", "sleep 300 & echo $!; wait\n"),
	} {
		t.Run(name, func(t *testing.T) {
			hook := scriptHook(t, path)
			hook.Settings.Timeout = 500 * time.Millisecond
			start := time.Now()
			outcome, err := hook.run(t.Context(), example)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(errorText(err), "timed out after ") {
				t.Errorf("error %v, want a timeout", err)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			pid, err := strconv.Atoi(outcome.LastLine())
			if err != nil {
				t.Fatalf("output %q: %v", outcome.Output, err)
			}
			eventually(t, "the grandchild is gone", func() bool { return !alive(pid) })
		})
	}
}

// alive says whether a process exists and is not merely waiting to be reaped.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

// eventually waits for a condition, at most 10 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10s in vain until %s", what)
		}
	}
}

// TestRealScriptThroughTheNotifier is the whole way once: the queue, the user, a process, the report.
func TestRealScriptThroughTheNotifier(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root to run a hook as another user")
		}
		t.Skip("needs root to run a hook as another user")
	}
	hook := scriptHook(t, commandtest.Script(t, commandtest.Dir(t), "who.sh", `echo "$(id -un) $3"`+"\n"))
	hook.Settings.User = "nobody"
	reports := make(chan Report, 8)
	n := New([]Hook{hook}, func(r Report) { reports <- r })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	defer func() { cancel(); <-done }()

	m := move("web")
	n.Notify(m.to(Master))
	expectOutput(t, reports, "nobody MASTER\n")
	n.Notify(m.to(Stop))
	n.Stop(t.Context())
	expectOutput(t, reports, "nobody STOP\n")
}

func expectOutput(t *testing.T, reports <-chan Report, want string) {
	t.Helper()
	select {
	case r := <-reports:
		if r.Output != want || r.Err != nil || r.Took <= 0 {
			t.Errorf("output %q, error %v, took %v; want %q", r.Output, r.Err, r.Took, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("no report within 20s, want output %q", want)
	}
}
