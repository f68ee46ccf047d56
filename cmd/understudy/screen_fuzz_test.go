package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/understudy-ha/understudy/internal/node"
)

// FuzzScreen prints the report of another version, or one whose words a server on the network chose: status shows it on any
// terminal, and nothing in it steers that.
func FuzzScreen(f *testing.F) {
	for _, r := range reports {
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"node":{"groups":[{"name":"web"}],"instances":[{"group":"web","routers":[{"auth":{},"own":{},"peers":[{}]}]}]},"checks":[{"name":"web","output":"\u001b[2J\r\u0000\t|"}]}`))
	f.Add([]byte(`{"node":{"instances":[{"name":"web","compared":{},"contention":{},"routers":null}]}}`))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text []byte) {
		var r node.Report
		if json.Unmarshal(text, &r) != nil || r.Node == nil {
			return // the client says so
		}
		harmless(t, screen(r, now))
		for _, c := range r.Checks {
			harmless(t, checkScreen(c, now))
		}
		hostCode(r)
		if only(r.Node, "web") == nil {
			harmless(t, screen(r, now))
			instanceCode(r)
		}
	})
}

// harmless asserts that a text is one for any terminal.
func harmless(t *testing.T, shown string) {
	t.Helper()
	steers := func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }
	if strings.ContainsFunc(shown, steers) || !utf8.ValidString(shown) {
		t.Errorf("it shows %q", shown)
	}
}
