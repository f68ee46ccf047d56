package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"
)

// journalWriter marks each line with its priority as systemd's journal reads it from standard error (sd-daemon(3)): without it
// journalctl -p warning shows nothing of this daemon.
type journalWriter struct{ io.Writer }

// LevelWrite is called by the log with a whole record, of one line or more.
func (w journalWriter) LevelWrite(level hclog.Level, record []byte) (int, error) {
	mark := fmt.Appendf(nil, "<%d>", journalPriority(level))
	lines := bytes.SplitAfter(bytes.TrimSuffix(record, []byte("\n")), []byte("\n"))
	marked := append(mark, bytes.Join(lines, mark)...)
	if _, err := w.Write(append(marked, '\n')); err != nil {
		return 0, err
	}
	return len(record), nil
}

// journalPriority is syslog's number for a level.
func journalPriority(level hclog.Level) int {
	switch {
	case level >= hclog.Error:
		return 3
	case level >= hclog.Warn:
		return 4
	case level >= hclog.Info:
		return 6
	}
	return 7
}
