package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

var demoEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func demoAt(ms int) time.Time { return demoEpoch.Add(time.Duration(ms) * time.Millisecond) }

func TestParseLogLine(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{
			"a state change",
			`2026-01-01T00:00:00.022Z [INFO]  understudy: state changed: instance=web from=backup to=master why="handed over by 192.0.2.11" priority=100`,
			"goes from backup to master: handed over by 192.0.2.11",
		},
		{
			"a reason of one word",
			`2026-01-01T00:00:00.022Z [INFO]  understudy: state changed: instance=web from=init to=backup why=listening priority=100`,
			"goes from init to backup: listening",
		},
		{
			"a reason with quotes in it",
			`2026-01-01T00:00:00.022Z [INFO]  understudy: state changed: instance=web from=master to=leaving why="check \"nginx\": gone" priority=1`,
			`goes from master to leaving: check "nginx": gone`,
		},
		{
			"a verdict",
			`2026-01-01T00:00:00.022Z [WARN]  understudy.check: unhealthy: check=page why="connection refused"`,
			"check page is unhealthy: connection refused",
		},
		{"another message", `2026-01-01T00:00:00.022Z [INFO]  understudy: stopped`, ""},
		{"no time", `yesterday [INFO]  understudy.check: healthy: check=page`, ""},
		{"not a log line", `panic: runtime error`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, ok := parseLogLine(tt.line)
			if e.text != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q, %t, want %q", e.text, ok, tt.want)
			}
			if ok && !e.at.Equal(demoAt(22)) {
				t.Errorf("at %v, want %v", e.at, demoAt(22))
			}
		})
	}
}

// demoStory is a step of 600 ms: the address moves from lb1 to lb2, and some connections suffer.
func demoStory() demoReport {
	history := netlab.History{
		{At: demoAt(-100), Host: "lb1", Addr: demoAddress, Held: true},
		{At: demoAt(100), Host: "lb2", Addr: demoAddress, Held: true},
		{At: demoAt(120), Host: "lb1", Addr: demoAddress, Held: false},
	}
	attempt := func(ms, took int, server string, err error) netlab.Attempt {
		return netlab.Attempt{Start: demoAt(ms), Took: time.Duration(took) * time.Millisecond, Server: server, Err: err}
	}
	// It was open, its answer not yet sent, when its host let the address go.
	hung := attempt(112, 1500, "", os.ErrDeadlineExceeded)
	hung.Established = time.Millisecond
	return demoReport{
		step:    demoStep{title: "move it", owner: "lb2"},
		from:    demoAt(0),
		to:      demoAt(600),
		events:  append(ownerEvents(history.Periods(demoAddress, demoAt(0), demoAt(600))), demoEvent{demoAt(130), "lb1 rests"}),
		history: history,
		hosts:   []demoRow{{"lb1", "lb1 (cut)"}, {"lb2", "lb2"}},
		saw: netlab.Attempts{From: demoAt(0), To: demoAt(600), List: []netlab.Attempt{
			attempt(5, 1, "lb1", nil), attempt(102, 1, "", syscall.ECONNREFUSED), attempt(103, 1, "lb1", nil),
			attempt(110, 1, "", syscall.ECONNRESET), hung, attempt(125, 300, "lb2", nil), attempt(590, 1, "lb2", nil),
		}},
		before: "02:00:00:00:00:01 (lb1)",
		after:  "02:00:00:00:00:02 (lb2)",
	}
}

func TestReport(t *testing.T) {
	want := `    100 ms  lb1 and lb2 have the address
    120 ms  lb2 has the address
    130 ms  lb1 rests

    lb1 (cut)  =============...............................................
    lb2        ..........==================================================
    client     -         xx~                                              -  600 ms

    the client waited 487 ms at most (this machine let it pause for 465 ms itself)
    1 of 7 connections lost, 2 open at the move cut short, 1 answered late; 2 answered by lb1; 2 answered by lb2
    it had 192.0.2.10 at 02:00:00:00:00:01 (lb1), now at 02:00:00:00:00:02 (lb2)
`
	tests := []struct {
		name   string
		wrong  []string
		colour bool
		want   string
	}{
		{"right, on paper", nil, false, want + "  ok\n"},
		{"right, on a terminal", nil, true, want + "  \x1b[32mok\x1b[0m\n"},
		{"wrong, on paper", []string{"late", "lossy"}, false, want + "  WRONG late\n  WRONG lossy\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			r := demoStory()
			r.wrong = tt.wrong
			demoPrinter{out: &out, colour: tt.colour}.report(r)
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestFilesAreNotColoured(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if newDemoPrinter(file).colour || newDemoPrinter(io.Discard).colour {
		t.Error("colours for what is not a terminal")
	}
}

func TestLongReasonsAreShortened(t *testing.T) {
	if got := shorten("short"); got != "short" {
		t.Errorf("got %q", got)
	}
	if got := shorten(strings.Repeat("é", 200)); got != strings.Repeat("é", 110)+"..." {
		t.Errorf("got %q", got)
	}
}

// wantNoLab checks that a process left neither namespaces nor directories of a lab.
func wantNoLab(t *testing.T, pid int) {
	t.Helper()
	for _, dir := range []string{"/run/netns", "/run"} {
		left, err := filepath.Glob(filepath.Join(dir, "netlab-"+strconv.Itoa(pid)+"-*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

func TestDemoWithADaemonThatDoesNotRunSaysSo(t *testing.T) {
	labtest.Root(t)
	labtest.Require(t, "ip", "nginx")
	tests := []struct {
		name   string
		daemon []string
		want   string
	}{
		{"it ends with an error", []string{"sh", "-c", "echo no such key >&2; exit 1"}, "  WRONG the daemon ended: sh on lb1: exit status 1: no such key"},
		{"it is not there", []string{"/nonexistent/understudy"}, "  WRONG the daemon ended: /nonexistent/understudy on lb1: exit status"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := runDemo(t.Context(), demoOptions{out: &out, daemon: func(*netlab.Host, string) []string { return tt.daemon }})
			if err == nil || err.Error() != "demo, step 1 did not do what it should: start the daemon on both hosts" {
				t.Errorf("error %v", err)
			}
			if !strings.Contains(out.String(), tt.want) {
				t.Errorf("output lacks %q:\n%s", tt.want, out.String())
			}
			wantNoLab(t, os.Getpid())
		})
	}
}

func TestDemoNeedsRoot(t *testing.T) {
	dir := commandtest.Dir(t) // open to nobody
	cmd := exec.CommandContext(t.Context(), commandtest.Self(t, dir, "understudy"), "demo")
	cmd.Env = append(os.Environ(), asCommand+"=1")
	if os.Geteuid() == 0 {
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	want := "understudy: make the demo's hosts: network namespaces need root: run it with sudo\n"
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != exitError || string(out) != want {
		t.Errorf("ended with %v, printed %q, want %q", err, out, want)
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	labtest.Root(t)
	labtest.Require(t, "ip", "nginx")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, shipped(t, t.TempDir()), "demo")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ended with %v\n%s", err, out)
	}
	wantNoLab(t, cmd.Process.Pid)
	text := string(out)
	for _, want := range []string{"lb1     192.0.2.11   02:00:00:00:00:01  nginx\n", "  instance \"web\" {\n", "7/7  heal the cut\n", "All as it should be:"} {
		if !strings.Contains(text, want) {
			t.Errorf("output lacks %q:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\n  ok\n"); n != 7 {
		t.Errorf("%d steps are ok, not 7:\n%s", n, text)
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("colours in a pipe:\n%s", text)
	}
}

// TestInterruptedDemo runs it with its own web server up to the third step, in which it is interrupted or loses its reader.
func TestInterruptedDemo(t *testing.T) {
	t.Parallel()
	labtest.Root(t)
	labtest.Require(t, "ip")
	program := shipped(t, t.TempDir())
	tests := []struct {
		name      string
		interrupt func(t *testing.T, cmd *exec.Cmd, out io.Closer)
		want      string // on stderr
	}{
		{
			"by a person",
			func(t *testing.T, cmd *exec.Cmd, _ io.Closer) {
				if err := cmd.Process.Signal(os.Interrupt); err != nil {
					t.Fatal(err)
				}
			},
			"interrupt signal received; everything that the demo made is removed\n",
		},
		{
			"by a reader that goes away",
			func(t *testing.T, _ *exec.Cmd, out io.Closer) {
				if err := out.Close(); err != nil {
					t.Fatal(err)
				}
			},
			"broken pipe signal received; everything that the demo made is removed\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, program, "demo", "--without-nginx")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			text := readUntil(t, out, "3/7")
			for _, want := range []string{"an HTTP server of understudy's own, as you asked", "/${hostname}/web.pid", "goes from master to leaving"} {
				if !strings.Contains(text, want) {
					t.Errorf("output lacks %q:\n%s", want, text)
				}
			}
			tt.interrupt(t, cmd, out)
			io.Copy(io.Discard, out)
			err = cmd.Wait()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != exitError || !strings.HasSuffix(stderr.String(), tt.want) {
				t.Errorf("ended with %v and %q, want %q", err, stderr.String(), tt.want)
			}
			wantNoLab(t, cmd.Process.Pid)
		})
	}
}

// readUntil reads lines until one begins with a text, and returns all of them.
func readUntil(t *testing.T, out io.Reader, text string) string {
	t.Helper()
	var seen strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		seen.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), text) {
			return seen.String()
		}
	}
	t.Fatalf("ended before %q:\n%s", text, seen.String())
	return ""
}
