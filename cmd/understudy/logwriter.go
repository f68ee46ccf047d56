package main

import (
	"bytes"
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

// Write takes one or more whole lines; it never waits and never fails.
func (w *logWriter) Write(p []byte) (int, error) {
	select {
	case w.lines <- bytes.Clone(p): // the caller uses p again
	default:
		w.dropped.Add(1)
	}
	return len(p), nil
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
			return
		}
	}
}

// write writes a line, and says what is missing before the next one.
func (w *logWriter) write(line []byte) {
	if _, err := w.out.Write(line); err != nil {
		w.dropped.Add(1) // where could it be told?
		return
	}
	if n := w.dropped.Swap(0); n > 0 {
		if _, err := fmt.Fprintf(w.out, "understudy: %d log lines are missing here: they were not read in time\n", n); err != nil {
			w.dropped.Add(n)
		}
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
