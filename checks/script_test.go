package checks

import (
	cmpor "cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/command"
	"github.com/understudy-ha/understudy/internal/command/commandtest"
)

// examine makes a checker from options and runs it once with a Monitor's kind of timeout.
func examine(t *testing.T, o Options, timeout time.Duration) (Finding, string) {
	t.Helper()
	if errs := o.Validate(); errs != nil {
		t.Fatalf("options: %v", errs)
	}
	c, err := o.New()
	if err != nil {
		t.Fatalf("new: %v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), timeout, timedOut(timeout))
	defer cancel()
	f, err := c.(Examiner).Examine(ctx)
	if err != nil {
		return f, err.Error()
	}
	return f, ""
}

const ample = 10 * time.Second

func TestScripts(t *testing.T) {
	dir := commandtest.Dir(t)
	tests := []struct {
		name, body string
		timeout    time.Duration
		word, want string
	}{
		{name: "exit status 0 is healthy", body: "exit 0", word: "exit status 0"},
		{name: "the last line is the word", body: "echo one; echo 'OK - load 0.1'", word: "OK - load 0.1"},
		{name: "the last line is the reason", body: "echo 'CRITICAL - disk full'; exit 2", want: "CRITICAL - disk full (exit status 2)"},
		{name: "no output", body: "exit 1", want: "exit status 1"},
		{name: "a signal", body: "kill -SEGV $$", want: "killed by signal 11 (SIGSEGV)"},
		{name: "a hang", body: "sleep 600", timeout: 300 * time.Millisecond, want: "timed out after 300ms"},
		{name: "a hang with output", body: "echo asking; sleep 600", timeout: 300 * time.Millisecond, want: "timed out after 300ms; its last output: asking"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := commandtest.Script(t, dir, fmt.Sprint("s", i), tt.body)
			f, got := examine(t, &ScriptOptions{Command: []string{path}}, cmpor.Or(tt.timeout, ample))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("reason (-want +got):\n%s", diff)
			}
			if tt.want == "" && f.Word != tt.word {
				t.Errorf("word %q, want %q", f.Word, tt.word)
			}
		})
	}
}

func TestAScriptThatCannotRunFailsWithTheReason(t *testing.T) {
	dir := commandtest.Dir(t)
	o := &ScriptOptions{Command: []string{dir + "/missing"}}
	want := dir + "/missing: no such file or directory"
	if diff := cmp.Diff(want, fmt.Sprint(o.Preflight())); diff != "" {
		t.Errorf("preflight (-want +got):\n%s", diff)
	}
	if _, got := examine(t, o, ample); got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	if diff := cmp.Diff([]OptionError{{"command", `is empty; write the program and its arguments, such as ["/usr/local/bin/check", "-w", "5"]`}},
		new(ScriptOptions).Validate()); diff != "" {
		t.Errorf("empty command (-want +got):\n%s", diff)
	}
}

func TestAScriptsFloodIsBounded(t *testing.T) {
	path := commandtest.Script(t, commandtest.Dir(t), "flood", "yes | head -c 5000000; echo over >&2")
	f, reason := examine(t, &ScriptOptions{Command: []string{path}}, ample)
	if reason != "" || f.Word != "over" || len(f.Output) > command.MaxOutput || !strings.HasPrefix(f.Output, "y\n") && !strings.HasPrefix(f.Output, "\ny") {
		t.Errorf("%q %q, %d bytes", reason, f.Word, len(f.Output))
	}
}
