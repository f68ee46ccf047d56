package node_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// listener is a node with one instance, and what it says about others.
type listener struct {
	*node.Node
	now  time.Time
	cfg  node.Instance
	said []string
	sent []node.Send
	told []node.Notify // of contentions
}

// listen starts a node with the instance of running, changed; its interface has the MAC address 02:..:01.
func listen(change func(*node.Instance)) *listener {
	l := &listener{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), cfg: node.Instance{
		Name: "web", Interface: "eth0", VRID: 51, Priority: 150, Version: vrrp.V3, Addresses: addresses("192.0.2.10,192.0.2.11"),
		Interval: time.Second, DeadAdverts: 3, Preempt: true,
	}}
	if change != nil {
		change(&l.cfg)
	}
	l.Node = node.New(node.Config{Name: "a", Instances: []node.Instance{l.cfg}}, l.now)
	l.step(node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, MAC: mac(1), Source4: self4, Source6: netip.MustParseAddr("fe80::1")}})
	return l
}

var (
	self4  = netip.MustParseAddr("10.0.0.1")
	other4 = netip.MustParseAddr("10.0.0.9")
)

func mac(n int) string { return fmt.Sprintf("02:00:00:00:00:%02x", n) }

func (l *listener) step(ev node.Event) {
	for _, a := range l.Step(l.now, ev) {
		switch a := a.(type) {
		case node.Warned:
			l.said = append(l.said, a.Why)
		case node.Send:
			l.sent = append(l.sent, a)
		case node.Notify:
			if a.State == node.Contended {
				l.told = append(l.told, a)
			}
		}
	}
}

// run lets time pass.
func (l *listener) run(d time.Duration) {
	node.Pass(l.Node, &l.now, d, func() { l.step(node.Elapsed{}) })
}

// advert is one that the instance itself could send, changed.
func (l *listener) advert(change func(*vrrp.Advert)) vrrp.Advert {
	a := vrrp.Advert{Version: l.cfg.Version, VRID: l.cfg.VRID, Priority: 100, Interval: l.cfg.Interval}
	for _, w := range l.cfg.Addresses {
		a.Addresses = append(a.Addresses, w.IP)
	}
	if change != nil {
		change(&a)
	}
	return a
}

func (l *listener) hear(a vrrp.Advert, from netip.Addr) {
	l.step(node.Heard{Interface: "eth0", Received: received(a, from)})
}

func (l *listener) refuse(err error, from netip.Addr) {
	l.step(node.Refused{Interface: "eth0", VRID: 51, From: from, Err: err})
}

func (l *listener) see(from netip.Addr, mac string) {
	l.step(node.Seen{Interface: "eth0", From: from, MAC: mac})
}

func (l *listener) router() node.RouterStatus { return l.Status(l.now).Instances[0].Routers[0] }

func (l *listener) saidOnly(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, l.said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
	l.said = nil
}

// TestErrorsOfOthers: what another host does wrong is told in words that name the remedy, once, with who it is.
func TestErrorsOfOthers(t *testing.T) {
	const who = "10.0.0.9 (02:00:00:00:00:09)"
	ill := func(a *vrrp.Advert) { a.Priority = 1 }
	owner := func(i *node.Instance) { i.Priority = vrrp.PriorityOwner }
	tests := []struct {
		name   string
		here   func(*node.Instance)
		advert func(*vrrp.Advert)
		from   netip.Addr
		reason string // among the refusals, or the notices
		want   string
	}{
		{"another interval in v2", v2, func(a *vrrp.Advert) { a.Interval = 2 * time.Second }, other4, "interval-mismatch",
			"adverts from " + who + " are refused: its interval is 2s, this host's 1s, and VRRPv2 demands the same: both hosts become master; write the same advertise_interval on all hosts"},
		{"another interval in v3", nil, func(a *vrrp.Advert) { a.Interval = 2 * time.Second }, other4, "interval-mismatch",
			"interval-mismatch from " + who + ", accepted all the same: its interval is 2s, this host's 1s: as its backup this host would take over after 6.828s of silence, not 3.414s; write the same advertise_interval on all hosts"},
		{"an interval far above ours", nil, func(a *vrrp.Advert) { a.Interval, a.Priority = vrrp.MaxIntervalV3, 200 }, other4, "interval-mismatch",
			"interval-mismatch from " + who + ", accepted all the same: its interval is 40.95s, this host's 1s: as its backup this host would take over after 2m19.806s of silence, not 3.414s; write the same advertise_interval on all hosts"},
		{"an address less", nil, func(a *vrrp.Advert) { a.Addresses = a.Addresses[:1] }, other4, "address-list-mismatch",
			"address-list-mismatch from " + who + ", accepted all the same: it advertises [192.0.2.10], this host has [192.0.2.10 192.0.2.11]; write the same addresses on all hosts"},
		{"an address less, strictly in v2", func(i *node.Instance) { v2(i); i.Strict = true }, func(a *vrrp.Advert) { a.Addresses = a.Addresses[:1] }, other4, "strict-addresses",
			"adverts from " + who + " are refused: it advertises [192.0.2.10], this host has [192.0.2.10 192.0.2.11], and strict is on; write the same addresses on all hosts"},
		{"a second owner", owner, func(a *vrrp.Advert) { a.Priority = vrrp.PriorityOwner }, other4, "duplicate-owner",
			"duplicate-owner from " + who + ", accepted all the same: both hosts have priority 255, the address owner's, and only one may be that; give all hosts but one a priority below 255"},
		{"who served while the owner could not", owner, nil, other4, "", ""},
		{"our priority", nil, func(a *vrrp.Advert) { a.Priority = 150 }, other4, "same-priority-as-ours",
			"same-priority-as-ours from " + who + ", accepted all the same: both hosts have priority 150, so the higher address wins; write different priorities"},
		{"our address", nil, func(a *vrrp.Advert) { a.Priority = 150 }, self4, "same-address",
			"adverts from 10.0.0.1 (02:00:00:00:00:09) are refused: another host uses this host's own address 10.0.0.1, and advertises priority 150 from it; give each host an address of its own"},
		{"a stranger", nil, func(a *vrrp.Advert) { a.Addresses = ips("198.51.100.1"); a.Interval = 3 * time.Second }, other4, "stranger",
			"stranger from " + who + ", accepted all the same: it advertises [198.51.100.1] every 3s, this host [192.0.2.10 192.0.2.11] every 1s; another cluster may use VRID 51 on this link: " +
				"then give this one another vrid; if it is a host of this cluster, write the same addresses and advertise_interval on all of them"},
		{"a stranger in v2", v2, func(a *vrrp.Advert) { a.Addresses = ips("198.51.100.1"); a.Interval = 3 * time.Second }, other4, "interval-mismatch",
			"adverts from " + who + " are refused: it advertises [198.51.100.1] every 3s, this host [192.0.2.10 192.0.2.11] every 1s; another cluster may use VRID 51 on this link: " +
				"then give this one another vrid; if it is a host of this cluster, write the same addresses and advertise_interval on all of them"},
		{"v2 for v3", nil, func(a *vrrp.Advert) { a.Version = vrrp.V2 }, other4, "version-mismatch",
			"adverts from " + who + " are refused: it speaks VRRPv2, this instance VRRPv3; write the same version on all hosts"},
		{"nothing", nil, ill, other4, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(tt.here)
			l.see(tt.from, mac(9))
			for range 3 {
				l.hear(l.advert(tt.advert), tt.from)
			}
			if tt.want == "" {
				l.saidOnly(t)
				return
			}
			first := l.said[:1]
			l.said = first
			l.saidOnly(t, tt.want)
			r := l.router()
			c := r.Refused[tt.reason]
			if c == nil {
				c = r.Notices[tt.reason]
			}
			if c == nil || c.Count != 3 || c.Last != tt.from || c.MAC != mac(9) || !c.At.Equal(l.now) || c.Text == "" {
				t.Errorf("status has %+v of %s in %+v %+v", c, tt.reason, r.Refused, r.Notices)
			}
		})
	}
}

func v2(i *node.Instance) { i.Version = vrrp.V2 }

// TestFarInterval: a master's interval is learned whatever it is, and status shows what that means.
func TestFarInterval(t *testing.T) {
	l := listen(nil)
	if got := l.router().MasterDown; got != 3414*time.Millisecond {
		t.Errorf("waits for %s before anybody was heard", got)
	}
	l.hear(l.advert(func(a *vrrp.Advert) { a.Priority, a.Interval = 200, vrrp.MaxIntervalV3 }), other4)
	if got := l.router().MasterDown; got != 139806*time.Millisecond {
		t.Errorf("waits for %s after an interval of 40.95s was learned", got)
	}
	l.run(2 * time.Minute)
	if s := l.Status(l.now).Instances[0].State; s != node.Backup {
		t.Errorf("%s after two minutes", s)
	}
}

// TestOwnAdvert: what this host sent lately and comes back is its own; anything else from its address is another host's.
func TestOwnAdvert(t *testing.T) {
	master := func(change func(*vrrp.Advert)) *listener {
		l := listen(nil)
		l.run(4 * time.Second) // master, with an advert every second
		l.said = nil
		return l
	}
	ours := func(a *vrrp.Advert) { a.Priority = 150 }
	tests := []struct {
		name   string
		before func(*listener)
		advert func(*vrrp.Advert)
		want   string
	}{
		{"it comes back", func(*listener) {}, ours, "own"},
		{"it comes back by our own MAC address", func(l *listener) { l.see(self4, mac(1)) }, ours, "own"},
		{"it comes back by a virtual router's MAC address", func(l *listener) { l.see(self4, "00:00:5e:00:01:33") }, ours, "own"},
		{"another MAC address", func(l *listener) { l.see(self4, mac(9)) }, ours, "same-address"},
		{"another priority", func(*listener) {}, func(a *vrrp.Advert) { a.Priority = 149 }, "same-address"},
		{"another interval", func(*listener) {}, func(a *vrrp.Advert) { ours(a); a.Interval = 2 * time.Second }, "same-address"},
		{"other addresses", func(*listener) {}, func(a *vrrp.Advert) { ours(a); a.Addresses = a.Addresses[:1] }, "same-address"},
		{"long after the last one", func(l *listener) { l.now = l.now.Add(time.Minute) }, ours, "same-address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := master(nil)
			if len(l.sent) == 0 {
				t.Fatal("it sent nothing")
			}
			tt.before(l)
			state := l.Status(l.now).Instances[0].State
			l.hear(l.advert(tt.advert), self4)
			if r := l.router().Refused; len(r) != 1 || r[tt.want] == nil {
				t.Errorf("refused as %v, want %s", r, tt.want)
			}
			if now := l.Status(l.now).Instances[0].State; now != state {
				t.Errorf("moved from %s to %s", state, now)
			}
		})
	}
}

// TestNewsWaitForTheMAC: a line waits until the sender's MAC address is known, or for one more of its packets.
func TestNewsWaitForTheMAC(t *testing.T) {
	line := func(who string) string { return "adverts from " + who + " are refused: " + vrrp.ErrChecksum.Error() }
	l := listen(nil)
	l.refuse(vrrp.ErrChecksum, other4)
	l.saidOnly(t)
	l.see(other4, mac(9))
	l.saidOnly(t, line("10.0.0.9 (02:00:00:00:00:09)"))
	l.refuse(vrrp.ErrChecksum, other4)
	l.see(other4, mac(8))
	l.saidOnly(t)

	third := netip.MustParseAddr("10.0.0.8")
	l.refuse(vrrp.ErrChecksum, third)
	l.saidOnly(t)
	l.refuse(vrrp.ErrChecksum, third)
	l.saidOnly(t, line("10.0.0.8"))
	l.see(third, mac(7))
	l.saidOnly(t)

	l.step(node.Refused{Interface: "eth0", VRID: 51, From: netip.MustParseAddr("10.0.0.7"), MAC: mac(6), Err: vrrp.ErrHopLimit, Count: 5})
	l.saidOnly(t, "adverts from 10.0.0.7 (02:00:00:00:00:06) are refused: "+vrrp.ErrHopLimit.Error())
	if c := l.router().Refused["ttl"]; c == nil || c.Count != 5 || c.MAC != mac(6) {
		t.Errorf("counted as %+v", c)
	}
}

// TestNewsAreChanges: a sender is told of again when its adverts are refused for another reason, and not too often.
func TestNewsAreChanges(t *testing.T) {
	l := listen(nil)
	l.see(other4, mac(9))
	told := func(want int) {
		t.Helper()
		if len(l.said) != want {
			t.Errorf("%d lines, want %d: %q", len(l.said), want, l.said)
		}
		l.said = nil
	}
	for range 10 {
		l.refuse(vrrp.ErrChecksum, other4)
	}
	told(1)
	l.refuse(vrrp.ErrShort, other4)
	l.refuse(vrrp.ErrShort, other4)
	told(1)
	l.run(time.Minute)
	l.said = nil
	l.refuse(vrrp.ErrShort, other4)
	told(0)
	for range 100 { // it is the same sender with the same fault
		l.hear(l.advert(nil), other4)
		l.refuse(vrrp.ErrShort, other4)
	}
	told(0)
	l.run(time.Minute)
	l.said = nil
	for k := range 100 {
		l.refuse([]error{vrrp.ErrShort, vrrp.ErrExcess, vrrp.ErrChecksum}[k%3], other4)
	}
	told(2) // the first never ended
	for k := range 100 {
		l.refuse(vrrp.ErrChecksum, netip.AddrFrom4([4]byte{10, 0, 0, byte(k)}))
		l.see(netip.AddrFrom4([4]byte{10, 0, 0, byte(k)}), mac(k))
	}
	told(4) // six in a minute, two were told before
	if c := l.router().Refused["short"]; c.Count != 137 {
		t.Errorf("counted %d", c.Count)
	}
}

// TestTwoMACs: an address that is seen with two MAC addresses is named with both.
func TestTwoMACs(t *testing.T) {
	l := listen(nil)
	l.see(other4, mac(9))
	l.see(other4, mac(9))
	l.see(other4, mac(8))
	l.see(other4, mac(8))
	l.refuse(vrrp.ErrChecksum, other4)
	l.saidOnly(t, "adverts from 10.0.0.9 (02:00:00:00:00:08 or 02:00:00:00:00:09) are refused: "+vrrp.ErrChecksum.Error())
	if c := l.router().Refused["checksum"]; c.MAC != mac(8) {
		t.Errorf("counted as %+v", c)
	}
}

// TestForgedSenders: a flood of forged senders is bounded in memory and in the log, and pushes no peer out.
func TestForgedSenders(t *testing.T) {
	l := listen(nil)
	l.hear(l.advert(nil), other4)
	for k := range 10_000 {
		from := netip.AddrFrom4([4]byte{10, 1, byte(k >> 8), byte(k)})
		l.refuse(vrrp.ErrChecksum, from)
		if k%2 == 0 {
			l.see(from, mac(7))
		}
	}
	if len(l.said) > 6 {
		t.Errorf("%d lines", len(l.said))
	}
	s := l.router()
	if len(s.Speakers) != 1 || s.Speakers[0].Address != other4 {
		t.Errorf("the peers are %+v", s.Speakers)
	}
	if s.Refused["checksum"].Count != 10_000 {
		t.Errorf("counted %d", s.Refused["checksum"].Count)
	}
}

// TestStrangersMakeRoom: those whose MAC addresses were never seen and who are forgotten leave room to wait for another's, however
// many they were.
func TestStrangersMakeRoom(t *testing.T) {
	l := listen(nil)
	stranger := 0
	come := func(strangers int) {
		for range strangers {
			stranger++
			l.refuse(vrrp.ErrChecksum, netip.AddrFrom4([4]byte{10, 1, byte(stranger >> 8), byte(stranger)}))
		}
	}
	for range 300 { // minutes, in each of which six are told of and all of them forgotten
		come(70)
		l.run(time.Minute)
	}
	l.said = nil
	l.refuse(vrrp.ErrChecksum, other4)
	l.saidOnly(t)
	l.see(other4, mac(9))
	l.saidOnly(t, "adverts from 10.0.0.9 (02:00:00:00:00:09) are refused: "+vrrp.ErrChecksum.Error())
}

// TestChecksumForms: what each peer sends is shown, and counted by form, for it and for the virtual router; who sends only what this
// host does not is named once.
func TestChecksumForms(t *testing.T) {
	const pseudo, message = vrrp.ChecksumPseudoHeader, vrrp.ChecksumMessage
	const (
		cisco = "checksum-form from 10.0.0.9 (02:00:00:00:00:09), accepted all the same: its checksums are RFC 9568's, without a pseudo-header, " +
			`as Cisco's and Juniper's are, and this host's have one: it may refuse them; if it does, write checksum = "rfc9568"`
		keepalived = "checksum-form from 10.0.0.9 (02:00:00:00:00:09), accepted all the same: its checksums cover a pseudo-header, " +
			`as keepalived's and FRR's do, and this host's do not: it may refuse them; if it does, remove checksum = "rfc9568"`
	)
	tests := []struct {
		name  string
		ours  vrrp.ChecksumForm
		heard []vrrp.ChecksumForm
		shown string
		said  []string
	}{
		{"as we do", pseudo, []vrrp.ChecksumForm{pseudo, pseudo, pseudo, pseudo}, "pseudo-header", nil},
		{"as we do, by RFC 9568", message, []vrrp.ChecksumForm{message, message, message, message}, "rfc9568", nil},
		{"twice is no proof", pseudo, []vrrp.ChecksumForm{message, message}, "rfc9568", nil},
		{"one and the other", pseudo, []vrrp.ChecksumForm{message, message, pseudo, message, message}, "rfc9568", nil},
		{"a Cisco", pseudo, []vrrp.ChecksumForm{message, message, message, message, message}, "rfc9568", []string{cisco}},
		{"a keepalived", message, []vrrp.ChecksumForm{pseudo, pseudo, pseudo, pseudo}, "pseudo-header", []string{keepalived}},
		{"changed to the other", pseudo, []vrrp.ChecksumForm{pseudo, message, message, message, message}, "rfc9568", []string{cisco}},
		{"changed to the other, by RFC 9568", message, []vrrp.ChecksumForm{message, pseudo, pseudo, pseudo}, "pseudo-header", []string{keepalived}},
		{"changed to ours", pseudo, []vrrp.ChecksumForm{message, message, message, pseudo}, "pseudo-header", []string{cisco}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(func(i *node.Instance) { i.Checksum = tt.ours })
			l.see(other4, mac(9))
			all, its := map[vrrp.ChecksumForm]uint64{}, map[vrrp.ChecksumForm]uint64{}
			hear := func(from netip.Addr, form vrrp.ChecksumForm) {
				r := received(l.advert(nil), from)
				r.Form = form
				l.step(node.Heard{Interface: "eth0", Received: r})
				all[form]++
			}
			for _, form := range tt.heard {
				hear(other4, form)
				its[form]++
			}
			for _, form := range []vrrp.ChecksumForm{message, pseudo, message} { // another peer's count for themselves, and prove nothing
				hear(other4.Next(), form)
			}
			l.saidOnly(t, tt.said...)
			router := l.router()
			want := []node.SpeakerStatus{
				{Address: other4, MAC: mac(9), Heard: l.now, Priority: 100, Interval: time.Second, Checksum: tt.shown, PseudoHeader: its[pseudo], Message: its[message]},
				{Address: other4.Next(), Heard: l.now, Priority: 100, Interval: time.Second, Checksum: "rfc9568", PseudoHeader: 1, Message: 2},
			}
			if diff := cmp.Diff(want, router.Speakers, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("shown (-want +got):\n%s", diff)
			}
			if c := router.Counters; c.PseudoHeader != all[pseudo] || c.Message != all[message] || c.Accepted != all[pseudo]+all[message] {
				t.Errorf("counted %+v, want %v", c, all)
			}
			l.run(4 * time.Second)
			for _, a := range l.sent {
				if r, err := vrrp.Parse(a.Payload, a.Source, a.Destination, vrrp.HopLimit); err != nil || r.Form != tt.ours {
					t.Errorf("sent form %s, %v; want %s whatever was heard", r.Form, err, tt.ours)
				}
			}
		})
	}
}

// TestStrays: what belongs to no instance is counted for its interface, and nobody is warned of it.
func TestStrays(t *testing.T) {
	l := listen(nil)
	l.see(other4, mac(9))
	l.hear(l.advert(func(a *vrrp.Advert) { a.VRID = 9 }), other4)
	l.step(node.Refused{Interface: "eth0", VRID: 9, From: other4, Err: vrrp.ErrCARP, Count: 3})
	l.step(node.Refused{Interface: "eth0", From: other4, Err: vrrp.ErrVRID})
	l.step(node.Overlooked{Interface: "eth0", Packets: 7})
	l.step(node.Overlooked{Interface: "eth0", Packets: 8})
	l.saidOnly(t)
	at := l.now
	want := []node.LinkStatus{{Name: "eth0", Overlooked: 15, Stray: node.Tally{
		"unknown-vrid": {Count: 1, Last: other4, MAC: mac(9), VRID: 9, At: at, Text: vrrp.ErrUnknownVRID.Error()},
		"carp":         {Count: 3, Last: other4, MAC: mac(9), VRID: 9, At: at, Text: vrrp.ErrCARP.Error()},
		"vrid":         {Count: 1, Last: other4, MAC: mac(9), At: at, Text: vrrp.ErrVRID.Error()},
	}}}
	if diff := cmp.Diff(want, l.Status(l.now).Links, cmpopts.IgnoreUnexported(node.Count{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}
