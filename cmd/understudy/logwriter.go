package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

const (
	// logQueue is how many lines may wait for whoever reads the log.
	logQueue = 1024
	// logFlush is how long the end waits for them.
	logFlush = time.Second
	// flushBound is the same before another program goes on in this process: every millisecond is one without an advert.
	flushBound = 20 * time.Millisecond
	flushPoll  = time.Millisecond
)

// logWriter writes lines in a goroutine of its own. The daemon logs from the loop that runs the election: when nobody empties
// the pipe that standard error is, lines are lost, and counted, and not the addresses.
type logWriter struct {
	out     io.Writer
	lines   chan []byte
	end     chan struct{}
	ended   chan struct{}
	dropped atomic.Uint64
}

// newLogWriter starts one; close ends it.
func newLogWriter(out io.Writer) *logWriter {
	w := &logWriter{out: out, lines: make(chan []byte, logQueue), end: make(chan struct{}), ended: make(chan struct{})}
	go w.run()
	return w
}

// Write takes a whole line; it never waits and never fails. Where lines are missing, the next one says how many.
func (w *logWriter) Write(p []byte) (int, error) {
	missing := w.dropped.Swap(0)
	line := append(w.notice(missing), p...) // the caller uses p again
	select {
	case w.lines <- line:
	default:
		w.dropped.Add(missing + 1)
	}
	return len(p), nil
}

// notice says that lines are missing.
func (w *logWriter) notice(missing uint64) []byte {
	if missing == 0 {
		return nil
	}
	return fmt.Appendf(nil, "understudy: %d log lines are missing here: they were not read in time\n", missing)
}

func (w *logWriter) run() {
	defer close(w.ended)
	for {
		select {
		case line := <-w.lines:
			w.write(line)
		case <-w.end:
			for len(w.lines) > 0 {
				w.write(<-w.lines)
			}
			w.write(w.notice(w.dropped.Swap(0)))
			return
		}
	}
}

func (w *logWriter) write(line []byte) {
	if len(line) == 0 {
		return
	}
	if _, err := w.out.Write(line); err != nil {
		w.dropped.Add(1)
	}
}

// flush waits until everything is written, within a bound.
func (w *logWriter) flush() {
	for end := time.Now().Add(flushBound); len(w.lines) > 0 && time.Now().Before(end); {
		time.Sleep(flushPoll)
	}
}

// close writes what waits, as far as it is read within a bound. What is written later is lost.
func (w *logWriter) close() {
	close(w.end)
	late := time.NewTimer(logFlush)
	defer late.Stop()
	select {
	case <-w.ended:
	case <-late.C:
	}
}
