package config

import (
	"encoding/hex"
	"strings"
	"testing"
)

// TestSameKeyTwice: who copies the wrong file when a key is changed has the old one under a new number, and it stays good for ever.
func TestSameKeyTwice(t *testing.T) {
	two := withAuth("active = 1", `key "1" {`, `file = "old.key"`, "}", `key "2" {`, `file = "new.key"`, "}")
	for name, tt := range map[string]struct {
		second string
		warns  bool
	}{
		"copied":          {keyText + "\n", true},
		"in other digits": {"hex:" + hex.EncodeToString([]byte(keyText)), true},
		"another":         {newText, false},
	} {
		_, said := loadHere(authIn(t, two, map[string]string{"old.key": keyText, "new.key": tt.second}))
		if got := strings.Contains(said, `warning: keys 1 and 2 of auth of instance "web" are the same`); got != tt.warns {
			t.Errorf("%s: it warns: %t, want %t:\n%s", name, got, tt.warns, said)
		}
	}
}

// TestBareDigits: hex digits without hex: in front are a text, and another key than the same digits with it on the other host.
func TestBareDigits(t *testing.T) {
	one := withAuth("active = 1", `key "1" {`, `file = "web.key"`, "}")
	digits := hex.EncodeToString([]byte(keyText))
	for name, tt := range map[string]struct {
		text  string
		notes bool
	}{
		"bare":     {digits, true},
		"prefixed": {"hex:" + digits, false},
		"text":     {keyText, false},
	} {
		c, said := loadHere(authIn(t, one, map[string]string{"web.key": tt.text}))
		if c == nil {
			t.Fatalf("%s: it is refused:\n%s", name, said)
		}
		if got := strings.Contains(said, "holds hex digits without hex: in front"); got != tt.notes {
			t.Errorf("%s: it says so: %t, want %t:\n%s", name, got, tt.notes, said)
		}
	}
}

// TestKeyRemedies: what is wrong with a key file comes with what to do.
func TestKeyRemedies(t *testing.T) {
	one := withAuth("active = 1", `key "1" {`, `file = "web.key"`, "}")
	dir := authIn(t, one, nil)
	if _, said := loadHere(dir); !strings.Contains(said, dir+"/web.key does not exist; copy it from a host that has it") {
		t.Errorf("missing: %s", said)
	}
}
