package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/internal/config"
)

// gate is a reader's end that is closed until it is opened.
type gate struct {
	open chan struct{}
	text strings.Builder
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.text.Write(p)
}

func TestLogArrivesWholeAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		close(g.open)
		w := newLogWriter(g)
		line := make([]byte, 0, 16) // one buffer for all lines, as hclog has
		var want strings.Builder
		for k := range logQueue {
			line = fmt.Appendf(line[:0], "line %d\n", k)
			want.Write(line)
			if n, err := w.Write(line); n != len(line) || err != nil {
				t.Fatalf("write: %d, %v", n, err)
			}
		}
		w.close()
		if g.text.String() != want.String() {
			t.Errorf("the log is not what was written: %d bytes, want %d", g.text.Len(), want.Len())
		}
	})
}

func TestLogThatNobodyReadsStallsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		w := newLogWriter(g)
		const more = 10
		write := func(s string) {
			if n, err := io.WriteString(w, s); n != len(s) || err != nil {
				t.Fatalf("write: %d, %v", n, err)
			}
		}
		write("first\n")
		synctest.Wait() // it is on its way out, and waits there
		for range logQueue + more {
			write("x\n")
		}
		close(g.open)
		synctest.Wait()
		write("last\n")
		w.close()
		notice := fmt.Sprintf("understudy: %d log lines are missing here: they were not read in time\n", more)
		want := "first\n" + strings.Repeat("x\n", logQueue) + notice + "last\n"
		if got := g.text.String(); got != want {
			t.Errorf("got %d bytes that end in %q, want %d", len(got), got[max(0, len(got)-100):], len(want))
		}
	})
}

func TestEndWaitsForTheLogOnlySoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		w := newLogWriter(g)
		_, _ = io.WriteString(w, "never read\n")
		start := time.Now()
		w.close()
		if took := time.Since(start); took != logFlush {
			t.Errorf("took %s, want %s", took, logFlush)
		}
		close(g.open) // the bubble wants every goroutine to end
	})
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestLogThatIsBrokenIsNoError(t *testing.T) {
	w := newLogWriter(broken{})
	for range 3 {
		if _, err := io.WriteString(w, "lost\n"); err != nil {
			t.Error(err)
		}
	}
	w.close()
}

// What a reload was refused for has many lines, and each is one of the journal's.
func TestJournalPriorities(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "8:1")
	var b strings.Builder
	log := newLog(&b, config.Log{Level: "info", Format: "text"})
	log.Error("rejected", "error", "web.hcl:1: one\nweb.hcl:2: two")
	log.Warn("two masters")
	for line := range strings.Lines(b.String()) {
		if want := map[bool]string{true: "<4>", false: "<3>"}[strings.Contains(line, "two masters")]; !strings.HasPrefix(line, want) {
			t.Errorf("the line %q does not begin with %s", line, want)
		}
	}
	if n := strings.Count(b.String(), "\n"); n < 4 {
		t.Errorf("%d lines in %q", n, b.String())
	}
}

func TestLogFormats(t *testing.T) {
	tests := []struct {
		name    string
		journal string
		log     config.Log
		want    []string
		not     []string
	}{
		{"text", "", config.Log{Level: "info", Format: "text"}, []string{"[INFO]  understudy: started: node=lb1", "T", "Z"}, []string{"hidden"}},
		{"text under a service manager has no time", "8:1", config.Log{Level: "info", Format: "text"}, []string{"<6>[INFO]  understudy: started: node=lb1\n"}, []string{"20"}},
		{"json under a service manager", "8:1", config.Log{Level: "debug", Format: "json"}, []string{`<6>{"@level":"info"`, `<7>{"@level":"debug"`}, nil},
		{"json", "", config.Log{Level: "debug", Format: "json"}, []string{`"@message":"started"`, `"node":"lb1"`, "hidden"}, nil},
		{"warn leaves info out", "", config.Log{Level: "warn", Format: "text"}, nil, []string{"started"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("JOURNAL_STREAM", tt.journal)
			if tt.journal == "" {
				_ = os.Unsetenv("JOURNAL_STREAM") // Setenv puts it back
			}
			var b strings.Builder
			log := newLog(&b, tt.log)
			log.Info("started", "node", "lb1")
			log.Debug("hidden")
			for _, s := range tt.want {
				if !strings.Contains(b.String(), s) {
					t.Errorf("%q is not in %q", s, b.String())
				}
			}
			for _, s := range tt.not {
				if strings.Contains(b.String(), s) {
					t.Errorf("%q is in %q", s, b.String())
				}
			}
		})
	}
}
