package node

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/vrrp"
)

// A router advertisement is signed by nobody, and gives a host an address that the kernel lists before those that it has. The other
// host knows this one by the address that it advertised from until then.
func TestSourceOutlastsARouterAdvertisement(t *testing.T) {
	now := time.Unix(0, 0)
	own, forged := netip.MustParseAddr("2001:db8:77::11"), netip.MustParseAddr("2001:db8:bad::1")
	local := netip.MustParseAddr("fe80::11")
	n := New(Config{Instances: []Instance{{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3, MinTTL: 255,
		Addresses: []Address{{IP: netip.MustParseAddr("2001:db8:77::100")}},
		Peers:     []Peer{{IP: netip.MustParseAddr("2001:db8:77::12")}},
	}}}, now)
	link := Link{Name: "eth0", Up: true, Source6: local, Own: []netip.Addr{own, local}}
	n.Step(now, LinkChanged{Link: link})
	link.Own = []netip.Addr{forged, own, local}
	n.Step(now.Add(time.Second), LinkChanged{Link: link})
	if s := n.Status(now).Instances[0].Routers[0].Source; s != own {
		t.Errorf("adverts come from %s, want %s", s, own)
	}
}

// lone is a master that hears no other host, with the instants at which its hooks are run again.
type lone struct {
	n      *Node
	now    time.Time
	reruns []time.Duration // since its begin
	slow   bool            // the kernel does not set addresses now
	asked  uint64          // the last request for them
}

const loneIP = "192.0.2.10"

func newLone(t *testing.T, change ...func(*Instance)) *lone {
	t.Helper()
	l := &lone{now: time.Unix(0, 0)}
	i := Instance{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3,
		Addresses: []Address{{IP: netip.MustParseAddr(loneIP)}}, Checks: map[string]Effect{"nginx": {}},
	}
	for _, f := range change {
		f(&i)
	}
	l.n = New(Config{Instances: []Instance{i}}, l.now)
	l.step(CheckChanged{Check: "nginx", Healthy: true})
	l.step(LinkChanged{Link: Link{Name: "eth0", Up: true, Source4: netip.MustParseAddr("192.0.2.1")}})
	l.run(10 * time.Second)
	if s := l.n.Status(l.now).Instances[0].State; s != Master {
		t.Fatalf("it is in %s", s)
	}
	return l
}

func (l *lone) step(ev Event) {
	for _, a := range l.n.Step(l.now, ev) {
		switch a := a.(type) {
		case SetAddresses:
			if l.asked = a.Request; len(a.Addresses) > 0 && !l.slow {
				defer l.set()
			}
		case Notify:
			if a.Reassert {
				l.reruns = append(l.reruns, l.now.Sub(time.Unix(0, 0)))
			}
		}
	}
}

// set is the kernel's word that it has the addresses.
func (l *lone) set() { l.step(AddressesSet{Instance: "web", Request: l.asked}) }

func (l *lone) run(d time.Duration) {
	for at := l.now.Add(d); l.now.Before(at); l.now = l.now.Add(10 * time.Millisecond) {
		l.step(Elapsed{})
	}
}

// announced is an announcement of a stranger.
func (l *lone) announced() {
	l.step(Announced{Interface: "eth0", IP: netip.MustParseAddr(loneIP), MAC: "02:00:00:00:00:66"})
}

// advertised is an advert of one that this master does not give way to.
func (l *lone) advertised() {
	l.step(Heard{Interface: "eth0", Received: vrrp.Received{
		Advert: vrrp.Advert{Version: vrrp.V3, VRID: 71, Priority: 100, Interval: time.Second, Addresses: []netip.Addr{netip.MustParseAddr(loneIP)}},
		From:   netip.MustParseAddr("192.0.2.2"), To: vrrp.IPv4.Group(), HopLimit: vrrp.HopLimit,
	}})
}

// Nor is ARP: one announcement of a stranger must not run a master's hooks again, and so not one each time that the last is forgotten.
func TestStrayAnnouncementsRunNoHooks(t *testing.T) {
	l := newLone(t)
	for range 10 {
		l.announced()
		l.run(4 * time.Second)
	}
	if len(l.reruns) > 0 {
		t.Errorf("10 announcements of a stranger ran the hooks at %v", l.reruns)
	}
}

// What looks like another master runs them once it is over, and ever more seldom when it comes again and again, but always after the last
// time.
func TestContentionsRunHooksEverMoreSeldom(t *testing.T) {
	tests := []struct {
		name     string
		evidence func(*lone)
		want     []string
	}{
		{"adverts", (*lone).advertised, []string{"13s", "23s", "43s", "1m23s", "2m23s", "3m23s", "4m23s", "9m33s"}},
		{"announcements", func(l *lone) {
			l.announced()
			l.run(contentionTold)
			l.announced()
		}, []string{"13.1s", "23.1s", "43.1s", "1m23.1s", "2m23.1s", "3m23.1s", "4m23.1s", "9m38.1s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLone(t)
			for range 50 {
				tt.evidence(l)
				l.run(4 * time.Second)
			}
			l.run(6 * time.Minute)
			tt.evidence(l)
			l.run(4 * time.Second)
			l.ran(t, tt.want...)
		})
	}
}

// A second master may be known by its announcements alone: where no advert gets through, and it falls at this host's first one before it has
// sent one. keepalived sends them back to back, and again 5 s later; understudy's second round may be seen a little early, and with short
// intervals the third one is a contention of its own.
func TestAnnouncementsOfAMasterRunTheHooks(t *testing.T) {
	second := netip.MustParseAddr("192.0.2.11")
	rounds := func(each int, at ...time.Duration) func(*lone) {
		return func(l *lone) {
			begin := l.now
			for _, at := range at {
				l.run(begin.Add(at).Sub(l.now))
				for range each {
					l.announced()
				}
			}
		}
	}
	tests := []struct {
		name     string
		interval time.Duration
		evidence func(*lone)
		want     []string
	}{
		{"keepalived", time.Second, rounds(5, 0, 5*time.Second), []string{"13s", "23s"}},
		{"its first burst", time.Second, rounds(5, 0), []string{"13s"}},
		{"understudy", 300 * time.Millisecond, rounds(1, 0, 90*time.Millisecond, 1100*time.Millisecond, 5*time.Second), []string{"10.99s"}},
		{"one", time.Second, rounds(1, 0), nil},
		{"two", time.Second, rounds(2, 0), nil},
		{"each address once", time.Second, func(l *lone) {
			for _, ip := range []string{loneIP, "192.0.2.11", "192.0.2.12"} {
				l.step(Announced{Interface: "eth0", IP: netip.MustParseAddr(ip), MAC: "02:00:00:00:00:66"})
			}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLone(t, func(i *Instance) {
				i.Interval = tt.interval
				i.Addresses = append(i.Addresses, Address{IP: second}, Address{IP: second.Next()})
			})
			tt.evidence(l)
			l.run(20 * time.Second)
			l.ran(t, tt.want...)
		})
	}
}

// A stray announcement is no master's because one was heard some seconds ago.
func TestStrayAnnouncementsAfterAContention(t *testing.T) {
	l := newLone(t)
	l.advertised()
	for range 10 {
		l.run(4 * time.Second)
		l.announced()
	}
	l.ran(t, "13s")
}

// A run that is due later is kept while the mastery lasts: through an offer that nobody takes, and until the kernel has the addresses.
func TestDeferredRunOfHooksIsKept(t *testing.T) {
	ill := func(l *lone) { l.step(CheckChanged{Check: "nginx", Reason: "it is down"}) }
	tests := []struct {
		name string
		is   func(*lone)
		want []string
	}{
		{"healthy", func(l *lone) {
			l.advertised()
			l.run(4 * time.Second)
			l.announcedOften()
		}, []string{"13s", "23s"}},
		{"it offers what nobody takes", func(l *lone) {
			l.advertised()
			l.run(4 * time.Second)
			l.announcedOften()
			l.run(4 * time.Second)
			ill(l)
		}, []string{"13s", "23s"}},
		{"it offers before it is calm", func(l *lone) {
			l.advertised()
			ill(l)
		}, []string{"13.3s"}},
		{"its addresses are not there", func(l *lone) {
			l.advertised()
			l.run(2500 * time.Millisecond)
			l.slow = true
			l.step(AddressLost{Interface: "eth0", IP: netip.MustParseAddr(loneIP)})
			l.run(time.Second)
			l.set()
		}, []string{"13.5s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLone(t)
			tt.is(l)
			l.run(30 * time.Second)
			l.ran(t, tt.want...)
			if s := l.n.Status(l.now).Instances[0].State; s != Master {
				t.Errorf("it is in %s", s)
			}
		})
	}
}

// The process that goes on knows what a contention is made of, and how often the hooks have run for some.
func TestContentionsOverAnExchange(t *testing.T) {
	tests := []struct {
		name string
		is   func(*testing.T, *lone)
		want []string
	}{
		{"one announcement", func(t *testing.T, l *lone) {
			l.announced()
			l.run(time.Second)
			l.exchange(t)
		}, nil},
		{"a burst", func(t *testing.T, l *lone) {
			l.announcedOften()
			l.run(time.Second)
			l.exchange(t)
		}, []string{"13s"}},
		{"an advert", func(t *testing.T, l *lone) {
			l.advertised()
			l.run(time.Second)
			l.exchange(t)
		}, []string{"13s"}},
		{"a run that is due later", func(t *testing.T, l *lone) {
			for range 4 {
				l.advertised()
				l.run(4 * time.Second)
			}
			l.exchange(t)
			for range 4 {
				l.advertised()
				l.run(4 * time.Second)
			}
		}, []string{"13s", "23s", "43s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLone(t)
			tt.is(t, l)
			l.run(30 * time.Second)
			l.ran(t, tt.want...)
		})
	}
}

// announcedOften is a burst of announcements, back to back.
func (l *lone) announcedOften() {
	for range 5 {
		l.announced()
	}
}

// ran compares when the hooks were run again.
func (l *lone) ran(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, at := range l.reruns {
		got = append(got, at.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the hooks ran again at (-want +got):\n%s", diff)
	}
}

// exchange has another process go on.
func (l *lone) exchange(t *testing.T) {
	t.Helper()
	if why := l.n.Unrest(l.now); why != "" {
		t.Fatal(why)
	}
	text, err := json.Marshal(l.n.Seal(l.now))
	if err != nil {
		t.Fatal(err)
	}
	var s Sealed
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if l.n, _, err = Restore(&s, l.now); err != nil {
		t.Fatal(err)
	}
	l.set()
}

// Where adverts are signed, where one came from counts once it is accepted: of a linger it may be all that is waited for. What anybody can
// write, or play again from elsewhere, neither ends that nor hides where the successor's came from.
func TestSightedIsWhatWasAccepted(t *testing.T) {
	const theirs, forged = "02:00:00:00:00:02", sharedMAC + "1:47"
	var signer, behind vrrp.Authenticator
	first, second := from(t, &signer, begin, 150), from(t, &signer, begin.Add(time.Second), 150)
	seen := func(h Heard, mac string) Event {
		return Seen{Interface: "eth0", From: lb2, MAC: mac, VRID: 71, Trailer: h.Trailer()}
	}
	early := from(t, &behind, begin.Add(-3*time.Second), 150)
	plain := first
	plain.Sealed = nil
	unsignedHere := Seen{Interface: "eth0", From: lb2, MAC: theirs, VRID: 71}
	unsigned := Seen{Interface: "eth0", From: lb2, MAC: forged, VRID: 71}
	wrong := Seen{Interface: "eth0", From: lb2, MAC: forged, VRID: 71, Trailer: "of another key"}
	flood := func(count int) (events []Event) {
		for k := range count {
			events = append(events, Seen{Interface: "eth0", From: lb2, MAC: forged, VRID: 71, Trailer: fmt.Sprintf("of no key %d", k)})
		}
		return events
	}
	tests := []struct {
		name   string
		auth   *vrrp.Auth
		events []Event
		want   string
	}{
		{"seen before it is accepted", authOf(vrrp.Enforce), []Event{seen(first, theirs), first}, theirs},
		{"and after", authOf(vrrp.Enforce), []Event{first, seen(first, theirs)}, theirs},
		{"never accepted", authOf(vrrp.Enforce), []Event{first, seen(first, theirs), wrong}, theirs},
		{"not signed", authOf(vrrp.Enforce), []Event{first, seen(first, theirs), unsigned}, theirs},
		{"played again", authOf(vrrp.Enforce), []Event{first, seen(first, theirs), seen(first, forged)}, theirs},
		{"played again before it is accepted", authOf(vrrp.Enforce), []Event{first, seen(second, theirs), seen(second, forged), second}, theirs},
		{"others are seen before it is accepted", authOf(vrrp.Enforce), slices.Concat([]Event{seen(first, theirs)}, flood(maxGlimpses-1), []Event{first}), theirs},
		{"others are seen, and it is played again", authOf(vrrp.Enforce), slices.Concat([]Event{seen(first, theirs)}, flood(maxGlimpses-1), []Event{seen(first, forged), first}), theirs},
		{"too many others", authOf(vrrp.Enforce), slices.Concat([]Event{seen(first, theirs)}, flood(maxGlimpses), []Event{first}), ""},
		{"not signed, and before any is accepted", authOf(vrrp.Enforce), []Event{unsigned}, ""},
		{"early", authOf(vrrp.Enforce), []Event{seen(early, forged), early}, ""},
		{"early, and seen after", authOf(vrrp.Enforce), []Event{early, seen(early, forged)}, ""},
		{"not signed, where that is accepted", authOf(vrrp.Permissive), []Event{first, unsigned, unsignedHere, plain}, theirs},
		{"without keys", nil, []Event{unsigned}, forged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := signedConfig(tt.auth)
			cfg.Instances[0].VirtualMAC = true
			n := New(cfg, begin)
			n.Step(begin, LinkChanged{Link{Name: "eth0", Up: true, Source4: netip.MustParseAddr("10.0.0.1"), VirtualMACs: []VirtualMAC{{VRID: 71, Family: vrrp.IPv4}}}})
			for k, ev := range tt.events {
				n.Step(begin.Add(time.Second+time.Duration(k)*time.Millisecond), ev)
			}
			if got := n.instances[0].members[0].sighted; got.mac != tt.want {
				t.Errorf("the last one that counts came from %q, want %q", got.mac, tt.want)
			}
		})
	}
}
