// Package labtest makes labs of package netlab in tests: it skips a test that the machine cannot run, or fails it where CI is
// set, and removes the lab at the test's end.
package labtest

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

// Root skips a test when it does not run as root. With the environment variable CI set, it fails it.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		unavailable(t, "needs root, for network namespaces")
	}
}

// Require skips a test when a program is missing. With the environment variable CI set, it fails it.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := netlab.Find(p); err != nil {
			unavailable(t, "needs "+p+"; .ci/setup test installs it")
		}
	}
}

func unavailable(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason + "; with CI set that is a failure")
	}
	t.Skip(reason)
}

// New makes a lab for a test, which needs root and ip, and removes it at the test's end.
func New(t testing.TB) *netlab.Lab {
	t.Helper()
	Root(t)
	Require(t, "ip")
	l, err := netlab.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("remove the lab: %v", err)
		}
	})
	return l
}

func prefixes(addrs []string) (list []netip.Prefix) {
	for _, a := range addrs {
		list = append(list, netip.MustParsePrefix(a))
	}
	return list
}

// Host adds a host with addresses such as "10.0.0.11/24" to a lab.
func Host(t testing.TB, l *netlab.Lab, name string, addrs ...string) *netlab.Host {
	t.Helper()
	h, err := l.Host(t.Context(), name, prefixes(addrs)...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Link gives a host a further interface with addresses such as "10.1.0.11/24".
func Link(t testing.TB, h *netlab.Host, name string, addrs ...string) *netlab.Link {
	t.Helper()
	l, err := h.Link(t.Context(), name, prefixes(addrs)...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Nginx starts nginx on a host.
func Nginx(t testing.TB, h *netlab.Host) *netlab.Nginx {
	t.Helper()
	Require(t, "nginx")
	n, err := h.Nginx(t.Context(), netlab.NginxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Client starts a client on a host and stops it at the test's end.
func Client(t testing.TB, h *netlab.Host, target string, opts netlab.ClientOptions) *netlab.Client {
	t.Helper()
	c := h.Client(netip.MustParseAddrPort(target), opts)
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Watch records the ownership of addresses until the test's end. Lost events fail the test.
func Watch(t testing.TB, l *netlab.Lab) *netlab.Ownership {
	t.Helper()
	o, err := l.Watch()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Errorf("ownership: %v", err)
		}
	})
	return o
}

// Eventually waits until cond is true, and fails the test when that takes longer than bound.
func Eventually(t testing.TB, bound time.Duration, cond func() (bool, string)) {
	t.Helper()
	if err := netlab.Eventually(t.Context(), bound, cond); err != nil {
		t.Fatal(err)
	}
}

// Owner waits until exactly one host, the named one, has an address. An empty name waits until none has it.
func Owner(t testing.TB, o *netlab.Ownership, addr, host string, bound time.Duration) {
	t.Helper()
	if err := o.AwaitOwner(t.Context(), netip.MustParseAddr(addr), host, bound); err != nil {
		t.Fatalf("%v\n%v", err, o.History())
	}
}
