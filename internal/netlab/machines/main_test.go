package machines

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// journalBound is how long the log of a machine may take.
const journalBound = 20 * time.Second

// scriptBound is how long a script on a machine may take: the installation of a package, or a stop that waits for another host.
const scriptBound = 90 * time.Second

// needs skips a test where the machine cannot make machines. With CI set, it fails.
func needs(t *testing.T) {
	t.Helper()
	labtest.Root(t)
	labtest.Require(t, "mmdebstrap", "systemd-nspawn", "nsenter", "unshare", "dpkg-deb", "nginx")
}

// newMachine makes a machine of a host, and switches it off at the test's end. Of a failed test it shows the log.
func newMachine(t *testing.T, h *netlab.Host) *Machine {
	t.Helper()
	base, err := NewBase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(t.Context(), h, base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			ctx, cancel := context.WithTimeout(context.Background(), journalBound) // the test's own is over
			defer cancel()
			journal, err := m.Journal(ctx)
			t.Logf("%s: %v\n%s\n%s", m.Name(), err, m.Console(), journal)
		}
		if err := m.Kill(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func boot(t *testing.T, m *Machine) {
	t.Helper()
	if err := m.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// shell runs a script that must succeed on a machine, and returns what it printed.
func shell(t *testing.T, m *Machine, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), scriptBound, fmt.Errorf("not within %v", scriptBound))
	defer cancel()
	out, err := m.Exec(ctx, "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
