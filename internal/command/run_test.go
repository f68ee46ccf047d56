package command_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/command"
	"github.com/understudy-ha/understudy/internal/command/commandtest"
)

func script(t *testing.T, body string) command.Spec {
	t.Helper()
	return command.Spec{Argv: []string{commandtest.Script(t, commandtest.Dir(t), "script", body)}}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("needs root to change users")
	}
	t.Skip("needs root to change users")
}

// gone waits until no process has the pid that a script wrote into file.
func gone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("the script did not write its grandchild's pid: %v", err)
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		// A zombie is dead too: whoever inherited it reaps it when it likes.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d still runs: %s", pid, stat)
		}
	}
}

func TestRunReportsHowACommandEnded(t *testing.T) {
	tests := []struct {
		name, body string
		want       string // "" for none
		lastLine   string
	}{
		{name: "exit status 0 is no error", body: "echo fine", lastLine: "fine"},
		{name: "the status is in the error", body: "echo 'disk is full' >&2\nexit 3", want: "exit status 3", lastLine: "disk is full"},
		{name: "a signal has its number and name", body: "kill -TERM $$", want: "killed by signal 15 (SIGTERM)"},
		{name: "SIGKILL by somebody else is no timeout", body: "kill -KILL $$", want: "killed by signal 9 (SIGKILL)"},
		{name: "blank lines at the end are no last line", body: `printf 'one\ntwo \n\n  \n'`, lastLine: "two"},
		{name: "output that is no text is made text", body: `printf 'a\377\033[31mb\r\n'`, lastLine: "a??[31mb"},
		{name: "stdin is empty", body: "cat; echo read", lastLine: "read"},
		{name: "the working directory is the root", body: "pwd", lastLine: "/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := command.Run(t.Context(), script(t, tt.body))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.lastLine, out.LastLine()); diff != "" {
				t.Errorf("last line (-want +got):\n%s", diff)
			}
			if out.Took <= 0 {
				t.Errorf("took %s", out.Took)
			}
		})
	}
}

func TestRunKeepsTheExitStatusReachable(t *testing.T) {
	_, err := command.Run(t.Context(), script(t, "exit 7"))
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 7 {
		t.Errorf("no *exec.ExitError with status 7 in %#v", err)
	}
}

func TestRunAtTheTimeoutKillsTheWholeGroup(t *testing.T) {
	dir := commandtest.Dir(t)
	pid := filepath.Join(dir, "pid")
	s := command.Spec{Argv: []string{
		commandtest.Script(t, dir, "hang", "echo started\nsleep 600 &\necho $! > $1\nwait"), pid,
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	start := time.Now()
	out, err := command.Run(ctx, s)
	if err == nil || err.Error() != "timed out after 500ms" {
		t.Errorf("error %v, want: timed out after 500ms", err)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not context.DeadlineExceeded", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("returned after %s", took)
	}
	if out.LastLine() != "started" {
		t.Errorf("output before the timeout was lost: %q", out.Output)
	}
	gone(t, pid)
}

func TestRunEndsWithItsContext(t *testing.T) {
	dir := commandtest.Dir(t)
	started := filepath.Join(dir, "started")
	s := command.Spec{Argv: []string{commandtest.Script(t, dir, "hang", "echo $$ > $1.new; mv $1.new $1; sleep 600"), started}}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for range 1000 {
			if _, err := os.Stat(started); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		cancel(errors.New("the daemon stops"))
	}()
	_, err := command.Run(ctx, s)
	if err == nil || err.Error() != "stopped: the daemon stops" || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want: stopped: the daemon stops", err)
	}
	gone(t, started)
}

func TestRunStartsNothingWhenTimeIsUp(t *testing.T) {
	dir := commandtest.Dir(t)
	mark := filepath.Join(dir, "mark")
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err := command.Run(ctx, command.Spec{Argv: []string{commandtest.Script(t, dir, "s", "touch $1"), mark}})
	if err == nil || err.Error() != "timed out after 0s" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want: timed out after 0s", err)
	}
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the command ran: %v", err)
	}
}

func TestRunIsNotHeldByAGrandchildThatKeepsThePipe(t *testing.T) {
	dir := commandtest.Dir(t)
	pid := filepath.Join(dir, "pid")
	tests := []struct {
		name, body, want string
	}{
		{name: "in the group, after success", body: "sleep 600 &\necho $! > $1; echo done"},
		{name: "in the group, after failure", body: "sleep 600 &\necho $! > $1; echo done; exit 2", want: "exit status 2"},
		{name: "in a session of its own", body: "setsid sleep 600 &\necho $! > $1; echo done"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			out, err := command.Run(t.Context(), command.Spec{
				Argv: []string{commandtest.Script(t, dir, "s"+strconv.Itoa(i), tt.body), pid},
			})
			took := time.Since(start)
			text, readErr := os.ReadFile(pid)
			if readErr != nil {
				t.Fatal(readErr)
			}
			grandchild, _ := strconv.Atoi(strings.TrimSpace(string(text)))
			// A hook may leave something running on purpose, so it is alive; and it is ours to end.
			if err := syscall.Kill(grandchild, syscall.SIGKILL); err != nil {
				t.Errorf("what the command left in the background: %v", err)
			}
			if got := fmt.Sprint(err); tt.want == "" && err != nil || tt.want != "" && got != tt.want {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if out.LastLine() != "done" {
				t.Errorf("output %q", out.Output)
			}
			if took > 5*time.Second {
				t.Errorf("returned after %s", took)
			}
		})
	}
}

// TestRunInTimeIsNotMadeLateByAGrandchild: a check that took more than its timeout has failed, whatever its exit status.
func TestRunInTimeIsNotMadeLateByAGrandchild(t *testing.T) {
	const timeout = 150 * time.Millisecond // of a check that runs often
	s := script(t, "sleep 2 &")
	for range 5 { // a machine that is busy may be late once
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		_, err := command.Run(ctx, s)
		late := ctx.Err()
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if late == nil {
			return
		}
	}
	t.Errorf("a command that succeeds at once, and leaves something with its output, is never back within %s", timeout)
}

func TestRunAtTheTimeoutIsNotHeldByASessionOfItsOwn(t *testing.T) {
	dir := commandtest.Dir(t)
	pid := filepath.Join(dir, "pid")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := command.Run(ctx, command.Spec{
		Argv: []string{commandtest.Script(t, dir, "s", "setsid sh -c 'echo $$ > '$1'; exec sleep 600' &\nwait"), pid},
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("returned after %s", took)
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	escaped, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	_ = syscall.Kill(escaped, syscall.SIGKILL)
}

func TestRunBoundsAFloodOfOutput(t *testing.T) {
	out, err := command.Run(t.Context(), script(t, "yes 0123456789abcdef | head -c 20000000\necho; echo the end"))
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Output) != command.MaxOutput {
		t.Errorf("kept %d bytes, want %d", len(out.Output), command.MaxOutput)
	}
	if out.LastLine() != "the end" {
		t.Errorf("last line %q", out.LastLine())
	}
}

func TestRunSaysWhyACommandDoesNotStart(t *testing.T) {
	dir := commandtest.Dir(t)
	noInterpreter := filepath.Join(dir, "no-interpreter")
	garbage := filepath.Join(dir, "garbage")
	for path, text := range map[string]string{noInterpreter: "#!/nonexistent/perl\n", garbage: "\x00\x01no program\n"} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct{ name, path, want string }{
		{
			name: "a missing interpreter", path: noInterpreter,
			want: "start " + noInterpreter + ": no such file or directory; the file is there, so its interpreter (the #! line) is missing",
		},
		{
			name: "no program at all", path: garbage,
			want: "start " + garbage + ": exec format error; a script must begin with a line such as #!/bin/sh",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := command.Run(t.Context(), command.Spec{Argv: []string{tt.path}})
			if diff := cmp.Diff(tt.want, fmt.Sprint(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRunPassesTheEnvironment(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	t.Setenv("WATCHDOG_USEC", "1000000")
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("UNDERSTUDY_TEST", "inherited")
	s := script(t, "env")
	for name, env := range map[string][]string{
		"ours without what is meant for the daemon": nil,
		"only the given one":                        {"ONLY=this", "PATH=/usr/bin:/bin"},
	} {
		t.Run(name, func(t *testing.T) {
			s.Env = env
			out, err := command.Run(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(out.Output, "\n")
			for _, secret := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"} {
				if strings.Contains(out.Output, secret) {
					t.Errorf("%s reached the command", secret)
				}
			}
			if inherited := slices.Contains(lines, "UNDERSTUDY_TEST=inherited"); inherited != (env == nil) {
				t.Errorf("our own variable inherited: %t", inherited)
			}
			if given := slices.Contains(lines, "ONLY=this"); given != (env != nil) {
				t.Errorf("the given variable is there: %t", given)
			}
		})
	}
}

func TestRunSwitchesToTheUserWithItsGroups(t *testing.T) {
	needRoot(t)
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("no user nobody here")
	}
	groups, err := nobody.GroupIds()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(groups)
	s := script(t, `echo $(id -u) $(id -g) $(id -G | tr ' ' '\n' | sort | tr '\n' ' '); grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status | cut -f2 | sort -u`)
	want := strings.Join(append([]string{nobody.Uid, nobody.Gid}, groups...), " ") + "\n0000000000000000\n"
	for _, name := range []string{"nobody", nobody.Uid} {
		t.Run("as "+name, func(t *testing.T) {
			s.User = name
			out, err := command.Run(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, out.Output); diff != "" {
				t.Errorf("uid, gid, groups, capabilities (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRunKillsAnotherUsersGroup(t *testing.T) {
	needRoot(t)
	s := script(t, "sleep 600")
	s.User = "nobody"
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := command.Run(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestRunNamesTheUserWhoMayNotExecute(t *testing.T) {
	needRoot(t)
	s := script(t, "true")
	if err := os.Chmod(s.Argv[0], 0o700); err != nil {
		t.Fatal(err)
	}
	s.User = "nobody"
	_, err := command.Run(t.Context(), s)
	want := "start " + s.Argv[0] + `: permission denied; user "nobody" may not execute it or not enter a directory on its way`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestRunGivesACommandTheOrdinaryOOMScore(t *testing.T) {
	before, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	// Raising is allowed to everybody, and a child inherits it as it would a lowered one.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("123"), 0); err != nil {
		t.Skipf("cannot change the OOM score here: %v", err)
	}
	t.Cleanup(func() { _ = os.WriteFile("/proc/self/oom_score_adj", bytes.TrimSpace(before), 0) })
	// The parent writes after the start, so the script waits until it did.
	out, err := command.Run(t.Context(), script(t,
		"n=0; while [ $n -lt 200 ] && [ $(cat /proc/$$/oom_score_adj) != 0 ]; do n=$((n+1)); sleep 0.01; done; cat /proc/$$/oom_score_adj"))
	if err != nil {
		t.Fatal(err)
	}
	if out.LastLine() != "0" {
		t.Errorf("oom_score_adj %q, want 0", out.LastLine())
	}
}
