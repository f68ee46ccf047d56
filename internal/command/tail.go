package command

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// tail is a writer that keeps the last MaxOutput bytes, whatever the amount written.
type tail struct {
	buf  [MaxOutput]byte
	next int // where the next byte goes
	full bool
}

// Write keeps what fits and never fails, so that a chatty command is not stopped by us.
func (t *tail) Write(p []byte) (int, error) {
	written := len(p)
	if len(p) > MaxOutput {
		p = p[len(p)-MaxOutput:]
		t.full = true
	}
	for len(p) > 0 {
		n := copy(t.buf[t.next:], p)
		p = p[n:]
		if t.next += n; t.next == MaxOutput {
			t.next, t.full = 0, true
		}
	}
	return written, nil
}

// String is the text that was kept, fit for a terminal and a log: valid UTF-8, never longer than MaxOutput.
func (t *tail) String() string {
	if !t.full {
		return printable(string(t.buf[:t.next]))
	}
	s := string(t.buf[t.next:]) + string(t.buf[:t.next])
	// The cut may have gone through a character.
	for range utf8.UTFMax - 1 {
		if s != "" && !utf8.RuneStart(s[0]) {
			s = s[1:]
		}
	}
	return printable(s)
}

// printable replaces what is no text by question marks, which are one byte each: the result is never longer.
func printable(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '?'
		}
		return r
	}, s)
}
