package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// TestManualPages: each command has a page, each page is what man(7) asks for, and the same program writes the same bytes.
func TestManualPages(t *testing.T) {
	labtest.Require(t, "mandoc")
	dir, again := t.TempDir(), t.TempDir()
	t.Setenv("SOURCE_DATE_EPOCH", "1795651200")
	for _, d := range []string{dir, again} {
		if code := run(t.Context(), []string{"manual", d}, io.Discard, t.Output()); code != exitOK {
			t.Fatalf("exit %d", code)
		}
	}
	pages, err := filepath.Glob(filepath.Join(dir, "man?", "*"))
	if err != nil || len(pages) < 12 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	out, err := exec.CommandContext(t.Context(), "mandoc", append([]string{"-T", "lint", "-W", "warning"}, pages...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
	for _, file := range append(pages, filepath.Join(dir, "bash", "understudy"), filepath.Join(dir, "zsh", "_understudy"), filepath.Join(dir, "fish", "understudy.fish")) {
		one, err := os.ReadFile(file)
		if err != nil || len(one) == 0 {
			t.Errorf("%s: %d bytes, %v", file, len(one), err)
		}
		two, err := os.ReadFile(strings.Replace(file, dir, again, 1))
		if err != nil || string(one) != string(two) {
			t.Errorf("%s is another one the second time: %v", file, err)
		}
	}
	for name, wants := range map[string][]string{
		"man5/understudy.hcl.5": {"advertise_interval", "expect_status", "pid_file", `announce in instance`, "UNDERSTUDY_PEER_MAC", "noprefixroute"},
		"man8/understudy.8":     {".SH EXIT STATUS", ".SH SIGNALS", "SIGHUP", ".SH FILES", "/run/understudy"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
	}
}
