package interop

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

// early is a time in which the clients were led to a host which had yet to get the address. Nobody asks us meanwhile, who serve on.
//
// Linux says of an IPv6 address that it is set, and leaves it to a thread to let it be delivered to. keepalived announces without a look
// whether that ran: what clients send until then reaches its host, and is dropped there. It is some milliseconds where the thread waits for
// a processor; each step logs for how long it was, if that cost anything. Where both sides have one MAC address the switch is what leads
// them, from keepalived's first advert on, and it sets the address after that.
type early struct{ from, to time.Time }

// underway is how long after its start a connection's first packet may leave.
const underway = time.Millisecond

// lasted is for how long.
func (e early) lasted() time.Duration { return e.to.Sub(e.from) }

// took says whether a connection went that way.
func (e early) took(a netlab.Attempt) bool {
	return e.lasted() > 0 && a.Start.After(e.from.Add(-underway)) && a.Start.Before(e.to)
}

// earlyIn finds when it was that the owners of an address became a host too late, by the first line since an instant that leads the
// clients there, in what tcpdump saw. Longer than a hiccup it is something else, which is not excused.
func earlyIn(dump string, leads *regexp.Regexp, owners netlab.History, host string, vip netip.Addr, since time.Time) early {
	led, ok := firstLine(dump, leads, since)
	if !ok || slices.Contains(owners.Owners(vip, led), host) {
		return early{}
	}
	e := early{led, owners.Gets(host, vip, led)}
	if e.lasted() > hiccup {
		return early{}
	}
	return e
}

// firstLine is when tcpdump first saw something since an instant.
func firstLine(dump string, of *regexp.Regexp, since time.Time) (at time.Time, ok bool) {
	const stamp = "2006-01-02 15:04:05.000000"
	for line := range strings.Lines(dump) {
		if len(line) < len(stamp) || !of.MatchString(line[len(stamp):]) {
			continue
		}
		if at, err := time.ParseInLocation(stamp, line[:len(stamp)], time.Local); err == nil && !at.Before(since) {
			return at, true
		}
	}
	return time.Time{}, false
}

// early is that of their host since an instant. Of a speaker whose addresses the kernel does not show nothing is known.
func (l *lab) early(since time.Time) early {
	if l.them == nil || !l.peer.shows() {
		return early{}
	}
	mac, shared := l.them.MAC(), l.opts.sharedMAC()
	if !shared && l.opts.vip.Is4() {
		return early{}
	}
	leads := announces(mac, l.opts.vip)
	switch {
	case shared:
		leads = advertises(mac, l.opts.speakers()[1])
	case slices.Equal(l.opts.theirs, theirVirtualMAC):
		leads = announces(net.HardwareAddr{0, 0, 0x5e, 0, 2, vrid}, l.opts.vip)
	}
	return earlyIn(l.wire.Output(), leads, l.Owners.History(), l.them.Name(), l.opts.vip, since)
}

// announces is a neighbour advertisement.
func announces(mac net.HardwareAddr, vip netip.Addr) *regexp.Regexp {
	return regexp.MustCompile(fmt.Sprintf("^ %s > .*, neighbor advertisement, tgt is %s,", mac, vip))
}

// advertises is a master's advert from the own address of a host, which over IPv6 is the one that its MAC address makes.
func advertises(mac net.HardwareAddr, own netip.Addr) *regexp.Regexp {
	if own.Is6() {
		own = netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]})
	}
	return regexp.MustCompile(fmt.Sprintf(`: %s > \S+: VRRPv\d, Advertisement, vrid %d, prio [1-9]`, regexp.QuoteMeta(own.String()), vrid))
}

// TestEarly holds what counts as announced too early, and that only what was sent meanwhile is excused.
func TestEarly(t *testing.T) {
	var (
		began = time.Date(2026, 11, 27, 17, 54, 42, 0, time.Local)
		at    = func(ms float64) time.Time { return began.Add(time.Duration(ms * float64(time.Millisecond))) }
		mac   = net.HardwareAddr{2, 0, 0, 0, 0, 2}
		line  = func(ms float64, from string) string {
			return fmt.Sprintf("%s %s > 33:33:00:00:00:01, ethertype IPv6 (0x86dd), length 86: fd00::100 > ff02::1: ICMP6, neighbor advertisement, tgt is fd00::100, length 32\n",
				at(ms).Format("2006-01-02 15:04:05.000000"), from)
		}
		gets = func(ms float64, host string) netlab.Change {
			return netlab.Change{At: at(ms), Host: host, Addr: vip6, Held: true}
		}
	)
	dump := line(-50, mac.String()) + "\n" + line(1, "02:00:00:00:00:01") + line(10, mac.String()) + line(12, mac.String())
	for _, tt := range []struct {
		name   string
		owners netlab.History
		want   [2]float64 // ms
	}{
		{"the address came after the announcement", netlab.History{gets(0, "ours"), gets(18, "theirs")}, [2]float64{10, 18}},
		{"it was there", netlab.History{gets(0, "ours"), gets(9, "theirs")}, [2]float64{}},
		{"it was there all the time", netlab.History{gets(-500, "theirs")}, [2]float64{}},
		{"it never came", netlab.History{gets(0, "ours")}, [2]float64{}},
		{"it came too late for that", netlab.History{gets(0, "ours"), gets(70, "theirs")}, [2]float64{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := earlyIn(dump, announces(mac, vip6), tt.owners, "theirs", vip6, began)
			want := early{}
			if tt.want != [2]float64{} {
				want = early{at(tt.want[0]), at(tt.want[1])}
			}
			if !e.from.Equal(want.from) || !e.to.Equal(want.to) {
				t.Errorf("from %v to %v, want from %v to %v", e.from, e.to, want.from, want.to)
			}
			for ms, excused := range map[float64]bool{8: false, 9.5: true, 17.9: true, 18.1: false} {
				if got := e.took(netlab.Attempt{Start: at(ms)}); got != (excused && want != early{}) {
					t.Errorf("a connection of %vms is excused: %v", ms, got)
				}
			}
		})
	}
	if e := earlyIn("listening on eth0\n", announces(mac, vip6), netlab.History{gets(18, "theirs")}, "theirs", vip6, began); e != (early{}) {
		t.Errorf("what was not announced was early: %v", e)
	}
	for line, want := range map[string]bool{
		": fe80::ff:fe00:2 > ff02::12: VRRPv3, Advertisement, vrid 71, prio 100, intvl 100cs, length 24":         true,
		": fe80::ff:fe00:2 > ff02::12: VRRPv3, Advertisement, vrid 71, prio 0, intvl 100cs, length 24":           false,
		": fe80::76c:7c7f:dcc:b7a0 > ff02::12: VRRPv3, Advertisement, vrid 71, prio 150, intvl 1cs, length 24":   false,
		": 10.0.0.12 > 224.0.0.18: VRRPv2, Advertisement, vrid 71, prio 100, authtype none, intvl 1s, length 20": false,
	} {
		if advertises(mac, netip.MustParseAddr("fd00::12")).MatchString(line) != want {
			t.Errorf("%q leads the clients: want %v", line, want)
		}
	}
	if !advertises(mac, netip.MustParseAddr("10.0.0.12")).MatchString(": 10.0.0.12 > 224.0.0.18: VRRPv2, Advertisement, vrid 71, prio 100, authtype none") {
		t.Error("an advert of VRRPv2 leads nobody")
	}
}
