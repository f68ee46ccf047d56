package node_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the expected output of testdata; commit a change only if you know its cause")

// TestTrace runs the scripts of testdata. Each drives a cluster of internal/sim: blocks of commands, a line of four dashes,
// and everything that the nodes and their kernels did; a blank line ends a block. Each begins with a comment that says what
// it proves, and by which sentence of internal/netlab/STORIES.md.
func TestTrace(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no script in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := runTrace(string(want))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// TestTraceBroken keeps the runner honest: a script that says nothing must not pass as one that proves something.
func TestTraceBroken(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"no comment on top", "host a 150\n----\n", `the first line is "host a 150", not a comment that says what the script proves`},
		{"no block", "# Proves nothing.\n", "no block"},
		{"a block without dashes", "# Proves it.\n\nhost a 150\n", `block "host a 150": no line ----`},
		{"an unknown command", "# Proves it.\n\nhost a 150\nrise a\n----\n", `rise a: unknown command "rise"`},
		{"an unknown host", "# Proves it.\n\nhost a 150\nstart b\n----\n", `start b: no host "b"`},
		{"an unknown check", "# Proves it.\n\nhost a 150\ncheck a nginx ok\n----\n", `check a nginx ok: host "a" has no check "nginx"`},
		{"an unknown key", "# Proves it.\n\nhost a 150 colour=red\n----\n", `host a 150 colour=red: unknown key "colour"`},
		{"a host too late", "# Proves it.\n\nhost a 150\nstart a\nhost b 100\n----\n", "host b 100: the cluster runs already"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := runTrace(tt.script)
			if err == nil {
				t.Fatalf("runTrace(%q) passed, want error %q", tt.script, tt.want)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// runTrace returns the script with its outputs replaced by what the nodes do today.
func runTrace(script string) (string, error) {
	if first, _, _ := strings.Cut(script, "\n"); !strings.HasPrefix(first, "# ") {
		return "", fmt.Errorf("the first line is %q, not a comment that says what the script proves", first)
	}
	var (
		out    []string
		blocks int
		tr     = newTracer()
	)
	for block := range strings.SplitSeq(strings.TrimSpace(script), "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if isComment(lines) {
			out = append(out, strings.Join(lines, "\n"))
			continue
		}
		blocks++
		text, err := tr.block(lines)
		if err != nil {
			return "", err
		}
		out = append(out, text)
	}
	if blocks == 0 {
		return "", fmt.Errorf("no block")
	}
	if tr.c != nil && len(tr.c.Faults()) > 0 {
		return "", fmt.Errorf("what no node may do: %s", strings.Join(tr.c.Faults(), "; "))
	}
	return strings.Join(out, "\n\n") + "\n", nil
}

func isComment(lines []string) bool {
	for _, l := range lines {
		if !strings.HasPrefix(l, "#") {
			return false
		}
	}
	return true
}

// block runs the commands above the dashes and returns them with what came of them.
func (tr *tracer) block(lines []string) (string, error) {
	tr.out = nil
	for i, line := range lines {
		if line == "----" {
			return strings.Join(append(lines[:i+1:i+1], tr.output()...), "\n"), nil
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		if err := tr.command(line); err != nil {
			return "", fmt.Errorf("%s: %w", line, err)
		}
	}
	return "", fmt.Errorf("block %q: no line ----", lines[0])
}
