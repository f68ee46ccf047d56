// Package tracetest runs the golden scripts of vrrp and internal/node. A script drives what is tested: blocks of commands, a line of
// four dashes, and all that came of them; a blank line ends a block. It begins with a comment that says what it proves, and by
// which rule.
package tracetest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the expected output of the scripts; commit a change only if you know its cause")

// Tracer is what one script drives.
type Tracer interface {
	// Command runs one line of it.
	Command(line string) error
	// Output returns what came of the commands since it was called last.
	Output() []string
	// End says what must not have happened.
	End() error
}

// Test runs the scripts whose files match the pattern, each with a tracer of its own.
func Test(t *testing.T, pattern string, start func() Tracer) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no script matches %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Run(string(want), start())
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

// Run returns the script with its outputs replaced by what comes of it today.
func Run(script string, tr Tracer) (string, error) {
	if first, _, _ := strings.Cut(script, "\n"); !strings.HasPrefix(first, "# ") {
		return "", fmt.Errorf("the first line is %q, not a comment that says what the script proves", first)
	}
	var out []string
	blocks := 0
	for text := range strings.SplitSeq(strings.TrimSpace(script), "\n\n") {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if isComment(lines) {
			out = append(out, strings.Join(lines, "\n"))
			continue
		}
		blocks++
		text, err := block(lines, tr)
		if err != nil {
			return "", err
		}
		out = append(out, text)
	}
	if blocks == 0 {
		return "", fmt.Errorf("no block")
	}
	return strings.Join(out, "\n\n") + "\n", tr.End()
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
func block(lines []string, tr Tracer) (string, error) {
	for i, line := range lines {
		if line == "----" {
			return strings.Join(append(lines[:i+1:i+1], tr.Output()...), "\n"), nil
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		if err := tr.Command(line); err != nil {
			return "", fmt.Errorf("%s: %w", line, err)
		}
	}
	return "", fmt.Errorf("block %q: no line ----", lines[0])
}
