package linux

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// strangers are as many routers as there can be, none of which has a peer in common with another one.
func strangers() []Accept {
	accepts := every(Accept{Unicast: true, MinTTL: 255, Version: 3})
	for k := range accepts {
		accepts[k].Peers = ips(fmt.Sprintf("10.9.%d.2", k), fmt.Sprintf("10.9.%d.3", k), fmt.Sprintf("10.9.%d.4", k), fmt.Sprintf("10.9.%d.5", k))
	}
	return accepts
}

// TestFilterOfManyUnicastRouters: those with the same peers share what they ask of a packet, so that there is room for all senders.
func TestFilterOfManyUnicastRouters(t *testing.T) {
	shared := every(Accept{Unicast: true, MinTTL: 255, Version: 3, Signed: true, Peers: ips("10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5")})
	six := every(Accept{Unicast: true, MinTTL: 255, Peers: ips("fd00::2", "fd00::3", "fd00::4", "fd00::5")})
	two := every(Accept{Unicast: true, MinTTL: 255, Peers: ips("10.9.0.2")})
	two[6].Peers = ips("10.9.0.3")
	for _, tt := range []struct {
		name    string
		v6      bool
		accepts []Accept
		senders bool
		most    int
	}{
		{"the same peers", false, shared, true, 620},
		{"the same peers over IPv6", true, six, true, 650},
		{"one with others", false, two, true, 630},
		{"each with its own, whoever sends", false, strangers(), false, 610},
	} {
		if n := len(must(bpf.Assemble(vrrpFilter(tt.v6, tt.accepts, tt.senders)))); n > tt.most {
			t.Errorf("%s: %d instructions, want at most %d", tt.name, n, tt.most)
		}
	}
	for peer, want := range map[string]bool{"10.9.0.2": false, "10.9.0.3": true, "10.9.0.77": false} {
		if got := passes(t, vrrpFilter(false, two, true), from4(255, peer)); got != want { // VRID 7
			t.Errorf("%s, where others have other peers: passes %t", peer, got)
		}
	}
}

// TestFilterTooLong: the kernel refuses a filter that is longer than it takes, and one without senders takes its place. That
// one drops whatever no peer may send.
func TestFilterTooLong(t *testing.T) {
	long := strangers()
	if err := attachFilter(nil, vrrpFilter(false, long, true)); !errors.Is(err, unix.EINVAL) { // nothing is asked of the socket
		t.Fatalf("a filter of %d instructions: %v", len(vrrpFilter(false, long, true)), err)
	}
	toGroup := from4(255, "10.9.6.2")
	copy(toGroup[16:], netip.MustParseAddr("224.0.0.18").AsSlice())
	version2 := append(from4(255, "10.9.6.2")[:20], advert(firstByteV2, 7)...)
	for _, tt := range []struct {
		name   string
		packet []byte
		want   bool
	}{
		{"a peer", from4(255, "10.9.6.2"), true},
		{"a stranger, who is the reader's business", from4(255, "10.9.0.77"), true},
		{"a peer behind a router", from4(254, "10.9.6.2"), false},
		{"to the group", toGroup, false},
		{"another version", version2, false},
	} {
		if got := passes(t, vrrpFilter(false, long, false), tt.packet); got != tt.want {
			t.Errorf("%s: passes %t, want %t", tt.name, got, tt.want)
		}
	}
}

// TestFilterTooLongIsTold tells of it with a socket: what fits is not coarse, also after what did not.
func TestFilterTooLongIsTold(t *testing.T) {
	pair(t)
	c := must(Listen("v0", false))
	defer c.Close()
	for _, tt := range []struct {
		accepts []Accept
		coarse  bool
	}{{strangers(), true}, {strangers()[:5], false}, {every(unicast(1, 255, "10.9.0.2", "10.9.0.3")), false}} {
		if err := c.Accept(tt.accepts); err != nil {
			t.Fatal(err)
		}
		if why := c.Coarse(); (why != nil) != tt.coarse {
			t.Errorf("%d routers: coarse for %v", len(tt.accepts), why)
		}
	}
	if err := os.WriteFile("/proc/sys/net/core/optmem_max", []byte("20480"), 0o600); err != nil { // as before Linux 6.7
		t.Logf("optmem_max is not this namespace's own: %v", err)
		return
	}
	if err := c.Accept(strangers()[:150]); err != nil {
		t.Fatal(err)
	}
	if why := errorText(c.Coarse()); !strings.Contains(why, "net.core.optmem_max") {
		t.Errorf("150 routers where the kernel gives little memory: %q", why)
	}
}
