package config

import (
	"strings"
	"testing"
)

// TestManual: every option of every block has a sentence, a type and, unless it is required, nothing left to guess.
func TestManual(t *testing.T) {
	seen := map[string]bool{}
	var walk func(path string, blocks []Block)
	walk = func(path string, blocks []Block) {
		for _, b := range blocks {
			at := path + b.Header
			if b.Doc == "" || len(b.Options) == 0 {
				t.Errorf("%s: doc %q and %d options", at, b.Doc, len(b.Options))
			}
			for _, o := range b.Options {
				seen[at+"."+o.Name] = true
				if o.Name == "" || o.Type == "" || !strings.HasSuffix(o.Doc, ".") {
					t.Errorf("%s: %+v", at, o)
				}
				if o.Required && o.Default != "" {
					t.Errorf("%s: %s is required and has a default", at, o.Name)
				}
			}
			walk(at+" > ", b.Nested)
		}
	}
	walk("", Manual())
	for _, want := range []string{
		`instance "NAME".advertise_interval`, `instance "NAME" > announce.refresh`, `check "http" "NAME".expect_status`,
		`check "KIND" "NAME".weight`, `notify "script" "NAME".command`, `notify "KIND" "NAME".on`, "control.steer_group",
	} {
		if !seen[want] {
			t.Errorf("the manual lacks %s", want)
		}
	}
}

// TestManualDefaults: a default is written as the configuration would have it.
func TestManualDefaults(t *testing.T) {
	got := map[string]Option{}
	for _, b := range Manual() {
		for _, o := range b.Options {
			got[b.Header+" "+o.Name] = o
		}
	}
	for name, want := range map[string][2]string{
		`instance "NAME" advertise_interval`: {"duration", `"1s"`},
		`instance "NAME" preempt`:            {"bool", "true"},
		`instance "NAME" strict`:             {"bool", "false"},
		`instance "NAME" addresses`:          {"list of strings", ""},
		`check "http" "NAME" expect_status`:  {"list of strings", `["200-399"]`},
		`check "http" "NAME" headers`:        {"map of strings", ""},
		`check "KIND" "NAME" rise`:           {"number", "2"},
	} {
		if o := got[name]; o.Type != want[0] || o.Default != want[1] {
			t.Errorf("%s: type %q, default %q; want %q", name, o.Type, o.Default, want)
		}
	}
}
