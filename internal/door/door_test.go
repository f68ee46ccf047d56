package door

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/notify"
)

// fakeHelper listens and does to each connection what serve does, then closes it.
func fakeHelper(t *testing.T, serve func(*net.UnixConn)) *Door {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			tasks.Go(func() {
				defer func() { _ = c.Close() }()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		tasks.Wait()
	})
	return New(path)
}

// says is a helper that reads the request and says something.
func says(text string) func(*net.UnixConn) {
	return func(c *net.UnixConn) {
		var r request
		_ = readFrame(bufio.NewReader(c), &r, maxRequest)
		_, _ = io.WriteString(c, text)
	}
}

func TestWhatTheHelperSays(t *testing.T) {
	tests := []struct {
		name   string
		serve  func(*net.UnixConn)
		want   string // PATH stands for the socket's; "" for success
		output string
	}{
		{name: "success", serve: says(frame(t, answer{Output: "done\n"})), output: "done\n"},
		{name: "failure", serve: says(frame(t, answer{Output: "no\n", Error: "exit status 3", Status: 3})), want: "exit status 3", output: "no\n"},
		{name: "a refusal", serve: says(frame(t, answer{Refused: "no such hook", Status: -1})), want: "the helper refuses: no such hook"},
		{
			name: "a refusal without reading the request", want: "the helper refuses: who are you",
			serve: func(c *net.UnixConn) { _ = writeFrame(c, answer{Refused: "who are you"}, maxAnswer) },
		},
		{
			name: "nothing, for it died", serve: says(""),
			want: "ask the helper at PATH: it ended without an answer; see: journalctl -u 'understudy-helper@*'",
		},
		{
			name: "nothing, for it died before it read", serve: func(*net.UnixConn) {},
			want: "ask the helper at PATH: it ended without an answer; see: journalctl -u 'understudy-helper@*'",
		},
		{
			name: "half an answer", serve: says("understudy-helper 1 400\n{"),
			want: "ask the helper at PATH: it ended without an answer; see: journalctl -u 'understudy-helper@*'",
		},
		{
			name: "garbage", serve: says("Segmentation fault\n"),
			want: `ask the helper at PATH: its answer is not understood: it begins with "Segmentation fault", which is not understudy's`,
		},
		{
			name: "an answer without an end", serve: says("understudy-helper 1 999999999\n"),
			want: "ask the helper at PATH: its answer is not understood: a message of 999999999 bytes; allowed: at most 65536",
		},
		{
			name: "a later version", serve: says("understudy-helper 2 brief\n"),
			want: "ask the helper at PATH: it speaks version 2 of its protocol, and this daemon 1: they are of different releases of understudy; run: systemctl restart understudy",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := fakeHelper(t, tt.serve)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			o, err := d.Hook(ctx, "tell", become(notify.Master))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if want := strings.ReplaceAll(tt.want, "PATH", d.path); got != want {
				t.Errorf("error\n%s\nwant\n%s", got, want)
			}
			if o.Output != tt.output {
				t.Errorf("output %q, want %q", o.Output, tt.output)
			}
			if answered := errors.As(err, new(*Failure)) || err == nil; answered == errors.Is(err, checks.ErrUnanswered) {
				t.Errorf("%v: answered: %t", err, answered)
			}
			if _, is := errors.AsType[syscall.Errno](err); is {
				t.Errorf("%v wraps the system's error: a check would take it for its server's", err)
			}
		})
	}
}

func TestExitStatus(t *testing.T) {
	d := fakeHelper(t, says(frame(t, answer{Error: "exit status 3", Status: 3})))
	_, err := d.Check(t.Context(), "backends")
	if f, ok := errors.AsType[*Failure](err); !ok || f.Status != 3 {
		t.Errorf("%#v, want status 3", err)
	}
}

func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	for _, tt := range []struct{ name, path, want string }{
		{"a socket that nobody listens on", stale, "connection refused; run: systemctl restart understudy-helper.socket"},
		{"a socket that is gone", filepath.Join(dir, "gone"), "no such file or directory; run: systemctl restart understudy-helper.socket"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.path).Check(t.Context(), "backends")
			if want := fmt.Sprintf("ask the helper at %s: %s", tt.path, tt.want); err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
			if errors.Is(err, syscall.ECONNREFUSED) {
				t.Error("a check would take it for its server's refusal")
			}
			if !errors.Is(err, checks.ErrUnanswered) {
				t.Error("a check would take it for its own failure")
			}
		})
	}
}

func TestOnceOpenAlwaysOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	d := New(path)
	if d.Open() {
		t.Error("open without a socket")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if d.Open() {
		t.Error("open with a file that is no socket")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if !d.Open() {
		t.Error("not open although there is a socket")
	}
	_ = l.Close() // and the socket is removed
	if !d.Open() {
		t.Error("what was behind the door would be run by somebody else now")
	}
}

// hangs is a helper that says nothing until the daemon gives up, and then what it is given.
func hangs(lastly string) func(*net.UnixConn) {
	return func(c *net.UnixConn) {
		in := bufio.NewReader(c)
		var r request
		if readFrame(in, &r, maxRequest) == nil {
			_, _ = in.ReadByte()
			_, _ = io.WriteString(c, lastly)
		}
	}
}

func TestAHelperThatHangs(t *testing.T) {
	lastly := frame(t, answer{Error: "stopped: the daemon waits no longer", Status: -1, Output: "asking\n"})
	for _, tt := range []struct{ name, lastly, hook, check, output string }{
		{"and never answers", "", "timed out after 200ms; the helper at PATH has not answered", "timed out after 200ms; the helper at PATH has not answered", ""},
		{"and has last words", lastly, "timed out after 200ms", "timed out after 200ms; its last output: asking", "asking\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := fakeHelper(t, hangs(tt.lastly))
			for _, run := range []struct {
				want string
				ask  func(context.Context) (string, error)
			}{
				{tt.hook, func(ctx context.Context) (string, error) {
					o, err := d.Hook(ctx, "tell", become(notify.Master))
					return o.Output, err
				}},
				{tt.check, func(ctx context.Context) (string, error) {
					f, err := d.Check(ctx, "backends")
					return f.Output, err
				}},
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				start := time.Now()
				output, err := run.ask(ctx)
				cancel()
				if diff := cmp.Diff(strings.ReplaceAll(run.want, "PATH", d.path), fmt.Sprint(err)); diff != "" || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if output != tt.output {
					t.Errorf("output %q, want %q", output, tt.output)
				}
				if unanswered := errors.Is(err, checks.ErrUnanswered); unanswered != (tt.lastly == "") {
					t.Errorf("unanswered: %t", unanswered)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("took %v", took)
				}
			}
		})
	}
}

func TestAHelperThatIgnoresTheEnd(t *testing.T) {
	free := make(chan struct{})
	d := fakeHelper(t, func(*net.UnixConn) { <-free })
	defer close(free)
	ctx, cancel := context.WithCancelCause(t.Context())
	start := time.Now()
	time.AfterFunc(100*time.Millisecond, func() { cancel(errors.New("the daemon stops")) })
	_, err := d.Hook(ctx, "tell", become(notify.Stop))
	if want := "stopped: the daemon stops; the helper at " + d.path + " has not answered"; err == nil || err.Error() != want || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(start); took < 100*time.Millisecond+lastWords || took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
