package linux

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// patience bounds every wait of the tests.
const patience = 10 * time.Second

// host is a network namespace without a name: it goes when the test ends.
type host struct {
	t    testing.TB
	ns   netns.NsHandle
	home netns.NsHandle
}

// needRoot skips the test where it cannot work; in CI that is a failure.
func needRoot(t testing.TB, programs ...string) {
	t.Helper()
	missing := ""
	if os.Geteuid() != 0 {
		missing = "needs root for network namespaces"
	}
	for _, p := range append(programs, "ip") {
		if _, err := exec.LookPath(p); err != nil {
			missing = "needs the program " + p
		}
	}
	switch {
	case missing != "" && os.Getenv("CI") != "":
		t.Fatal(missing)
	case missing != "":
		t.Skip(missing)
	}
}

// newHost puts the test into a namespace of its own.
func newHost(t testing.TB) *host {
	t.Helper()
	runtime.LockOSThread()
	home := must(netns.Get())
	h := &host{t: t, ns: must(netns.New()), home: home}
	t.Cleanup(func() {
		// A thread that cannot go home stays locked, and ends with the goroutine.
		if err := netns.Set(home); err == nil {
			runtime.UnlockOSThread()
		}
		h.ns.Close()
		home.Close()
	})
	h.run("ip link set lo up")
	return h
}

// pair is two hosts on one wire: v0 of this one, v1 of the peer. The test is on this one.
func pair(t testing.TB, programs ...string) (self, peer *host) {
	t.Helper()
	needRoot(t, programs...)
	self = newHost(t)
	peer = &host{t: t, ns: must(netns.New()), home: self.ns}
	t.Cleanup(func() { peer.ns.Close() })
	peer.run("ip link set lo up")
	if err := netns.Set(self.ns); err != nil {
		t.Fatal(err)
	}
	self.run("ip link add v0 address 02:00:00:00:00:01 type veth peer name v1 address 02:00:00:00:00:02")
	if err := netlink.LinkSetNsFd(must(netlink.LinkByName("v1")), int(peer.ns)); err != nil {
		t.Fatal(err)
	}
	// The kernel makes no link-local address by itself: a test has the ones that it adds.
	peer.do(func() {
		peer.run("ip link set v1 addrgenmode none", "ip addr add 10.9.0.2/24 dev v1", "ip link set v1 up")
	})
	self.run("ip link set v0 addrgenmode none", "ip addr add 10.9.0.1/24 dev v0", "ip link set v0 up")
	eventually(t, "v0 has its carrier and its routes know", func() bool {
		return strings.Contains(self.run("ip link show v0"), "state UP") && !strings.Contains(self.run("ip route"), "linkdown")
	})
	peer.do(func() {
		eventually(t, "v1 has its carrier", func() bool { return strings.Contains(peer.run("ip link show v1"), "state UP") })
	})
	return self, peer
}

// withIPv6 gives both ends of a pair a link-local and a global address, ready for use.
func withIPv6(self, peer *host) {
	self.addIPv6("v0", "fe80::1", "2001:db8::1")
	peer.do(func() { peer.addIPv6("v1", "fe80::2", "2001:db8::2") })
}

// addIPv6 adds addresses, and waits until the kernel takes packets for them: it does that after the command has returned.
func (h *host) addIPv6(device string, ips ...string) {
	h.t.Helper()
	for _, ip := range ips {
		h.run("ip addr add " + ip + "/64 dev " + device + " nodad")
	}
	for _, ip := range ips {
		eventually(h.t, "a local route to "+ip, func() bool {
			return strings.Contains(h.run("ip -6 route show table local"), "local "+ip+" dev "+device)
		})
	}
}

// do calls f in the host's namespace.
func (h *host) do(f func()) {
	h.t.Helper()
	if err := netns.Set(h.ns); err != nil {
		h.t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(h.home); err != nil {
			h.t.Fatal(err)
		}
	}()
	f()
}

// run executes commands in the namespace that the test is in, and returns the output of the last.
func (h *host) run(commands ...string) string {
	h.t.Helper()
	var out []byte
	for _, c := range commands {
		words := strings.Fields(c)
		var err error
		if out, err = exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			h.t.Fatalf("%s: %v: %s", c, err, out)
		}
	}
	return string(out)
}

// sysctl sets a file below /proc/sys/net.
func (h *host) sysctl(path, value string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join("/proc/sys/net", path), []byte(value), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// eventually waits until what holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// receive takes the next value from c.
func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came within %s", patience)
		panic("unreachable")
	}
}

// start runs a task until the test ends, and fails the test if it returns an error or returns early.
func start(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		err := run(ctx)
		if ctx.Err() == nil {
			err = fmt.Errorf("returned before its context ended: %w", err)
		}
		done <- err
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the task did not end with its context")
		}
	}
	t.Cleanup(stop)
	return stop
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ips(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}
