package node_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/vrrp/tracetest"
)

// TestTrace runs the scripts of testdata. Each drives a cluster of internal/sim, and prints everything that the nodes and their
// kernels did. Its first comment names the sentence of internal/netlab/STORIES.md that it proves.
func TestTrace(t *testing.T) { tracetest.Test(t, "testdata/*.txt", newTracer) }

// TestTraceBroken keeps the runner honest: a script that says nothing must not pass as one that proves something.
func TestTraceBroken(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"an unknown command", "# Proves it.\n\nhost a 150\nrise a\n----\n", `rise a: unknown command "rise"`},
		{"an unknown host", "# Proves it.\n\nhost a 150\nstart b\n----\n", `start b: no host "b"`},
		{"an unknown check", "# Proves it.\n\nhost a 150\ncheck a nginx ok\n----\n", `check a nginx ok: host "a" has no check "nginx"`},
		{"an unknown key", "# Proves it.\n\nhost a 150 colour=red\n----\n", `host a 150 colour=red: unknown key "colour"`},
		{"a host too late", "# Proves it.\n\nhost a 150\nstart a\nhost b 100\n----\n", "host b 100: the cluster runs already"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tracetest.Run(tt.script, newTracer())
			if err == nil {
				t.Fatalf("Run(%q) passed, want error %q", tt.script, tt.want)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// Output is what happened since the last block.
func (tr *tracer) Output() []string {
	if tr.c != nil {
		tr.flush()
	}
	out := tr.out
	tr.out = nil
	return out
}

// End says what no node may do.
func (tr *tracer) End() error {
	if tr.c == nil || len(tr.c.Faults()) == 0 {
		return nil
	}
	return fmt.Errorf("what no node may do: %s", strings.Join(tr.c.Faults(), "; "))
}

// flush moves the cluster's new lines to the output.
func (tr *tracer) flush() {
	lines := tr.c.Trace()
	tr.out = append(tr.out, lines[tr.printed:]...)
	tr.printed = len(lines)
}

// printf prints a line after all that happened before it.
func (tr *tracer) printf(format string, args ...any) {
	tr.flush()
	tr.out = append(tr.out, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}
