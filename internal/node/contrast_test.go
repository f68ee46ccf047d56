package node_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// beside is a shadow, and what the other daemon of its host sends.
type beside struct {
	*node.Node
	now  time.Time
	said []string

	advert   vrrp.Advert
	form     vrrp.ChecksumForm
	auth     *vrrp.Auth
	from     netip.Addr
	to       []netip.Addr
	mac      string
	hopLimit int
}

// watch starts a shadow with an instance, changed, beside a daemon that sends what it would send itself, changed. The interface
// has the addresses 10.0.0.1, fe80::1 and 02:..:01.
func watch(here func(*node.Instance), there func(*beside)) *beside {
	cfg := node.Instance{
		Name: "web", Interface: "eth0", VRID: 51, Priority: 150, Version: vrrp.V3, Addresses: addresses("192.0.2.10,192.0.2.11"),
		Interval: time.Second, DeadAdverts: 3, Preempt: true, Checks: map[string]node.Effect{}, MinTTL: vrrp.HopLimit,
	}
	if here != nil {
		here(&cfg)
	}
	b := &beside{
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), from: self4, mac: mac(1), hopLimit: vrrp.HopLimit, to: []netip.Addr{vrrp.GroupIPv4},
		advert: vrrp.Advert{Version: cfg.Version, VRID: 51, Priority: 150, Interval: cfg.Interval}, form: cfg.Checksum, auth: cfg.Auth,
	}
	for _, a := range cfg.Addresses {
		b.advert.Addresses = append(b.advert.Addresses, a.IP)
	}
	if b.advert.Addresses[0].Is6() {
		b.from, b.to = netip.MustParseAddr("fe80::1"), []netip.Addr{vrrp.GroupIPv6}
	}
	if there != nil {
		there(b)
	}
	b.Node = node.New(node.Config{Name: "a", Shadow: true, Instances: []node.Instance{cfg}}, b.now)
	b.step(node.LinkChanged{Link: node.Link{
		Name: "eth0", Up: true, MAC: mac(1), Source4: self4, Source6: netip.MustParseAddr("fe80::1"), Own: ips("10.0.0.1", "10.0.0.7", "fe80::1"),
		VirtualMACs: []node.VirtualMAC{{VRID: 51, Family: vrrp.IPv4}, {VRID: 51, Family: vrrp.IPv6, Source: netip.MustParseAddr("fe80::51")}},
	}})
	return b
}

func (b *beside) step(ev node.Event) {
	for _, a := range b.Step(b.now, ev) {
		switch a := a.(type) {
		case node.Warned:
			b.said = append(b.said, "warning: "+a.Why)
		case node.Noted:
			b.said = append(b.said, a.Why)
		case node.Send, node.Announce, node.Probe:
			panic("a shadow speaks")
		}
	}
}

// sends has the other daemon send so many times, to each destination.
func (b *beside) sends(t *testing.T, times int) {
	t.Helper()
	var signer vrrp.Authenticator
	for range times {
		b.now = b.now.Add(b.advert.Interval)
		a := b.advert
		trailer, err := signer.Sign(b.auth, b.now, &a, b.from)
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range b.to {
			payload, err := a.AppendSealed(nil, b.from, to, b.form, trailer)
			if err != nil {
				t.Fatal(err)
			}
			r, err := vrrp.Parse(payload, b.from, to, b.hopLimit)
			if err != nil {
				t.Fatal(err)
			}
			b.step(node.OwnAdvert{Interface: "eth0", MAC: b.mac, Received: r})
		}
	}
}

func (b *beside) own() *node.OwnAdverts { return b.Status(b.now).Instances[0].Routers[0].Own }

// keys are an auth block's, of which the first signs; 1' is another key of the number 1.
func keys(t *testing.T, list, mode string) *vrrp.Auth {
	t.Helper()
	active := strings.TrimSuffix(strings.Split(list, ",")[0], "'")
	a, err := auth(list+"/"+active+"/"+mode, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// password is VRRPv2's.
func password(t *testing.T, text string) *vrrp.Auth {
	t.Helper()
	secret, err := vrrp.NewPassword(text)
	if err != nil {
		t.Fatal(err)
	}
	return &vrrp.Auth{Password: secret}
}

// TestContrast: each field of this host's adverts that would be another one is named, with what to write to keep it.
func TestContrast(t *testing.T) {
	six := func(i *node.Instance) { i.Addresses = addresses("fe80::10,2001:db8::10") }
	virtual := func(i *node.Instance) { i.VirtualMAC = true }
	unicast := func(i *node.Instance) {
		i.Peers = []node.Peer{{IP: self4}, {IP: netip.MustParseAddr("10.0.0.2")}, {IP: netip.MustParseAddr("10.0.0.3")}}
	}
	tests := []struct {
		name  string
		here  func(*node.Instance)
		there func(*beside)
		want  []string
	}{
		{"nothing", nil, nil, nil},
		{"nothing over IPv6", six, nil, nil},
		{"nothing with a virtual MAC", virtual, func(b *beside) { b.mac = "00:00:5e:00:01:33" }, nil},
		{"nothing with peers", unicast, func(b *beside) { b.to = ips("10.0.0.3", "10.0.0.2") }, nil},
		{"nothing with a key", func(i *node.Instance) { i.Auth = keys(t, "1,2", "enforce") }, nil, nil},
		{"nothing with a password", func(i *node.Instance) { i.Version, i.Auth = vrrp.V2, password(t, "moving") }, nil, nil},
		{"nothing while nobody signs yet", func(i *node.Instance) { i.Auth = keys(t, "1", "receive-only") }, nil, nil},
		{"nothing with the other checksum", func(i *node.Instance) { i.Checksum = vrrp.ChecksumMessage }, nil, nil},

		{"the version, where the checksum is no difference of its own", nil, func(b *beside) { b.advert.Version = vrrp.V2 }, []string{"version 2, here 3: write version = 2"}},
		{"the priority", nil, func(b *beside) { b.advert.Priority = 100 }, []string{"priority 100, here 150: write priority = 100 for this host"}},
		{"a priority that weights make", func(i *node.Instance) { i.Checks["nginx"] = node.Effect{OnFailure: node.Weigh, Weight: 20} },
			nil, []string{`priority 150, here 170: it is 150 base +20 check "nginx"`}},
		{"a priority of an unhealthy host", nil, func(b *beside) { b.advert.Priority = 1 },
			[]string{"priority 1, here 150: 1 is no priority that can be written, it says unhealthy or drained; 2 is the lowest"}},
		{"the interval", nil, func(b *beside) { b.advert.Interval = 2 * time.Second }, []string{`interval 2s, here 1s: write advertise_interval = "2s"`}},
		{"an address more", nil, func(b *beside) { b.advert.Addresses = ips("192.0.2.10", "192.0.2.12", "192.0.2.11") },
			[]string{"addresses [192.0.2.10 192.0.2.12 192.0.2.11], here [192.0.2.10 192.0.2.11]: write [192.0.2.12] into addresses"}},
		{"an address less", nil, func(b *beside) { b.advert.Addresses = ips("192.0.2.11") },
			[]string{"addresses [192.0.2.11], here [192.0.2.10 192.0.2.11]: move [192.0.2.10] into unadvertised if it is to be set all the same (keepalived: virtual_ipaddress_excluded), else remove it"}},
		{"their order", nil, func(b *beside) { slices.Reverse(b.advert.Addresses) },
			[]string{"addresses [192.0.2.11 192.0.2.10], here [192.0.2.10 192.0.2.11]: write them into addresses in that order"}},
		{"another source of the interface", nil, func(b *beside) { b.from = netip.MustParseAddr("10.0.0.7") }, []string{`source 10.0.0.7, here 10.0.0.1: write source = "10.0.0.7"`}},
		{"a source that the interface does not have", six, func(b *beside) { b.from = netip.MustParseAddr("fe80::99") },
			[]string{"source fe80::99, here fe80::1: it is none of the interface's own (keepalived's use_vmac has its own), and cannot be written; between equal priorities the higher IPv6 wins"}},
		{"a virtual MAC there", nil, func(b *beside) { b.mac = "00:00:5e:00:01:33" },
			[]string{`MAC 00:00:5e:00:01:33, here 02:00:00:00:00:01: write mac = "virtual" (keepalived: use_vmac)`}},
		{"a virtual MAC here", virtual, nil,
			[]string{`MAC 02:00:00:00:00:01, here 00:00:5e:00:01:33: remove mac = "virtual", unless keepalived has use_vmac with vmac_xmit_base: then clients see no difference`}},
		{"another MAC", nil, func(b *beside) { b.mac = mac(9) },
			[]string{"MAC 02:00:00:00:00:09, here 02:00:00:00:00:01: it is neither the interface's nor the virtual router's, and cannot be written; clients and switches learn the other one from the announcements"}},
		{"the source of a virtual MAC over IPv6, which is no link-local address of the interface", func(i *node.Instance) { six(i); virtual(i) },
			func(b *beside) { b.from, b.mac = netip.MustParseAddr("fe80::99"), "00:00:5e:00:02:33" },
			[]string{`source fe80::99, here fe80::51: with mac = "virtual" each host has one of its own, made of its interface's MAC address; between equal priorities the higher one wins`}},
		{"unicast there", nil, func(b *beside) { b.to = ips("10.0.0.2", "10.0.0.3") },
			[]string{"destination [10.0.0.2 10.0.0.3], here 224.0.0.18: write peers with these addresses and this host's own (keepalived: unicast_peer)"}},
		{"multicast there", unicast, nil, []string{"destination 224.0.0.18, here the peers alone: remove peers"}},
		{"a peer more", unicast, func(b *beside) { b.to = ips("10.0.0.2", "10.0.0.3", "10.0.0.4") },
			[]string{"destination [10.0.0.2 10.0.0.3 10.0.0.4], here [10.0.0.2 10.0.0.3]: write [10.0.0.4] into peers"}},
		{"a peer less", unicast, func(b *beside) { b.to = ips("10.0.0.3") },
			[]string{"destination [10.0.0.3], here [10.0.0.2 10.0.0.3]: nothing leaves for [10.0.0.2]: remove it from peers if keepalived's unicast_peer lacks it, and leave it if that host is off the link"}},
		{"the TTL", unicast, func(b *beside) { b.to, b.hopLimit = ips("10.0.0.2", "10.0.0.3"), 64 },
			[]string{"TTL 64, here 255: nothing to write, it is always that, and no host refuses it"}},
		{"the checksum", nil, func(b *beside) { b.form = vrrp.ChecksumMessage }, []string{`checksum rfc9568, here pseudo-header: write checksum = "rfc9568"`}},
		{"the checksum the other way round", func(i *node.Instance) { i.Checksum = vrrp.ChecksumMessage }, func(b *beside) { b.form = vrrp.ChecksumPseudoHeader },
			[]string{`checksum pseudo-header, here rfc9568: remove checksum = "rfc9568"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := watch(tt.here, tt.there)
			b.sends(t, 2)
			if diff := cmp.Diff(tt.want, b.own().Differs); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
			verdict := "what would be sent; the same: "
			if len(tt.want) > 0 {
				verdict = "not what would be sent: " + strings.Join(tt.want, "; ") + "; the same: "
			}
			if len(b.said) != 1 || !strings.Contains(b.said[0], verdict+strings.Join(b.own().Same, ", ")) {
				t.Errorf("said %q, want one line that has %q", b.said, verdict)
			}
		})
	}
}

// TestContrastOfAuthentication: keepalived's password or signature where there is none here, or another one, and the other way
// round.
func TestContrastOfAuthentication(t *testing.T) {
	none := (*vrrp.Auth)(nil)
	tests := []struct {
		name        string
		here, there *vrrp.Auth
		want        string
	}{
		{"a password there", none, password(t, "moving"), "auth VRRPv2's password, here none: write auth { password = .. } with keepalived's auth_pass, and version = 2"},
		{"a password here", password(t, "moving"), none, "auth none, here VRRPv2's password: remove the auth block"},
		{"another password", password(t, "moving"), password(t, "resting"), "auth VRRPv2's password, here another password: compare it with keepalived's auth_pass, of which the first 8 bytes count"},
		{"a key there", none, keys(t, "7", "enforce"), "auth signed with key 7, here none: write auth with the key 7 of there (keepalived: auth_hmac)"},
		{"a key here", keys(t, "1", "permissive"), none, `auth none, here signed with key 1: write mode = "receive-only" until every host has the keys, or remove the auth block`},
		{"another key that is known here", keys(t, "1,2", "enforce"), keys(t, "2", "enforce"), "auth signed with key 2, here signed with key 1: write active = 2"},
		{"another key that is not", keys(t, "1", "enforce"), keys(t, "2", "enforce"), "auth signed with key 2, here signed with key 1: write auth with the key 2 of there (keepalived: auth_hmac)"},
		{"another key of the number", keys(t, "1", "enforce"), keys(t, "1'", "enforce"), "auth signed with key 1, here another key of that number: compare the key files (keepalived signs otherwise before 2.4.2)"},
		{"a signature where nobody signs yet", keys(t, "1", "receive-only"), keys(t, "1", "enforce"), `auth signed with key 1, here none: write mode = "permissive", or "enforce" where every host signs`},
		{"a password there and a key here", keys(t, "1", "enforce"), password(t, "moving"), "auth VRRPv2's password, here signed with key 1: write auth { password = .. } with keepalived's auth_pass, and version = 2"},
		{"a key there and a password here", password(t, "moving"), keys(t, "1", "enforce"), "auth signed with key 1, here VRRPv2's password: write auth with the key 1 of there (keepalived: auth_hmac)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := watch(func(i *node.Instance) { i.Version, i.Auth = vrrp.V2, tt.here }, func(b *beside) { b.auth = tt.there })
			b.sends(t, 2)
			if diff := cmp.Diff([]string{tt.want}, b.own().Differs); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestContrastIsToldOnce: the log hears what is the same once, what differs whenever that changes, and nothing before all is known.
func TestContrastIsToldOnce(t *testing.T) {
	b := watch(func(i *node.Instance) { i.Peers = []node.Peer{{IP: netip.MustParseAddr("10.0.0.2")}} }, func(b *beside) { b.to = ips("10.0.0.2") })
	b.sends(t, 1)
	if len(b.said) > 0 {
		t.Errorf("said %q after one advert: where the others of its kind go is not known yet", b.said)
	}
	b.sends(t, 3)
	b.advert.Priority = 100
	b.sends(t, 3)
	b.advert.Priority = 150
	b.sends(t, 3)
	want := []string{
		"this host's own adverts over IPv4 are what would be sent; the same: version, priority, interval, addresses, source, MAC, destination, TTL, checksum, auth",
		"warning: this host's own adverts over IPv4 are not what would be sent: priority 100, here 150: write priority = 100 for this host",
		"this host's own adverts over IPv4 are what would be sent",
	}
	if diff := cmp.Diff(want, b.said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
	b.to, b.said = ips("10.0.0.2", "10.0.0.3"), nil
	b.sends(t, 1)
	b.to = ips("10.0.0.2")
	b.sends(t, 59)
	if own := b.own(); len(own.Differs) != 1 {
		t.Errorf("within a minute a destination is forgotten: %q", own.Differs)
	}
	b.sends(t, 2)
	if own := b.own(); len(own.Differs) != 0 || len(b.said) != 2 {
		t.Errorf("differs %q, said %q", own.Differs, b.said)
	}
}

// TestContrastDuringAHandover: the one advert of a handover that has another interval says nothing about the interval, two in a row do.
func TestContrastDuringAHandover(t *testing.T) {
	b := watch(nil, func(b *beside) { b.advert.Interval = vrrp.MinInterval })
	b.sends(t, 1)
	if own := b.own(); len(own.Differs) > 0 || slices.Contains(own.Same, "interval") {
		t.Errorf("after one it differs in %q, and is the same in %q", own.Differs, own.Same)
	}
	b.advert.Priority = vrrp.PriorityRelease
	b.sends(t, 2)
	if own := b.own(); len(own.Differs) > 0 || slices.Contains(own.Same, "priority") {
		t.Errorf("after the release it differs in %q, and is the same in %q", own.Differs, own.Same)
	}
	if len(b.said) > 0 {
		t.Errorf("of a handover alone it says %q", b.said)
	}
	b.advert.Priority = 150
	b.sends(t, 2)
	if diff := cmp.Diff([]string{`interval 10ms, here 1s: write advertise_interval = "10ms"`}, b.own().Differs); diff != "" {
		t.Errorf("after two (-want +got):\n%s", diff)
	}
}

// TestOwnVRIDThatNoInstanceHas: a daemon that advertises under another number is named once, with the number to write where it has
// this one's addresses.
func TestOwnVRIDThatNoInstanceHas(t *testing.T) {
	b := watch(nil, func(b *beside) { b.advert.VRID, b.mac = 52, mac(1) })
	b.sends(t, 3)
	b.advert.VRID, b.advert.Addresses = 53, ips("192.0.2.77")
	b.sends(t, 3)
	want := []string{
		"warning: this host advertises virtual router 52 over IPv4 with [192.0.2.10 192.0.2.11], which has addresses of this instance: write vrid = 52",
		"warning: this host advertises virtual router 53 over IPv4 with [192.0.2.77], and no instance has that vrid on this interface",
	}
	if diff := cmp.Diff(want, b.said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
	stray := b.Status(b.now).Links[0].Stray["own-unknown-vrid"]
	if stray == nil || stray.Count != 6 || stray.VRID != 53 || stray.Last != self4 || !strings.HasSuffix(want[1], stray.Text) {
		t.Errorf("status says %+v", stray)
	}
	b.step(node.OwnAdvert{Interface: "eth1", Received: received(b.advert, self4)})
	if len(b.said) > len(want) {
		t.Errorf("said %q of an interface without instances", b.said[len(want):])
	}
}

// TestOwnVRIDIsForgottenAtAReload: advice that was followed is not given any more, and what was not followed is found again.
func TestOwnVRIDIsForgottenAtAReload(t *testing.T) {
	var cfg node.Instance
	b := watch(func(c *node.Instance) { cfg = *c }, func(b *beside) { b.advert.VRID, b.mac = 52, mac(1) })
	b.sends(t, 3)
	for _, tt := range []struct {
		vrid   uint8
		strays int
	}{{53, 1}, {52, 0}} {
		cfg.VRID = tt.vrid
		b.step(node.Reconfigured{Config: node.Config{Name: "a", Shadow: true, Instances: []node.Instance{cfg}}})
		if links := b.Status(b.now).Links; len(links) > 0 {
			t.Errorf("vrid %d: after the reload status says %+v", tt.vrid, links)
		}
		b.sends(t, 3)
		if links := b.Status(b.now).Links; len(links) != tt.strays {
			t.Errorf("vrid %d: status says %+v, want %d strays", tt.vrid, links, tt.strays)
		}
	}
}

// TestOwnAdvertsAreCounted: what a virtual router's counter of sent adverts has in a shadow is what the other daemon sends for it, to each
// destination, and nothing of what the shadow would send.
func TestOwnAdvertsAreCounted(t *testing.T) {
	b := watch(nil, nil)
	node.Pass(b.Node, &b.now, 10*time.Second, func() { b.step(node.Elapsed{}) })
	if i := b.Status(b.now).Instances[0]; i.State != node.Master || i.Routers[0].Counters.Sent != 0 || i.Routers[0].Own != nil {
		t.Errorf("before one came: %s, sent %d, own %+v", i.State, i.Routers[0].Counters.Sent, i.Routers[0].Own)
	}
	b.sends(t, 3)
	b.to = ips("10.0.0.2", "10.0.0.3")
	b.sends(t, 2)
	b.advert.VRID = 52
	b.sends(t, 1)
	if r := b.Status(b.now).Instances[0].Routers[0]; r.Counters.Sent != 7 || r.Own.Count != 7 || r.Counters.Accepted != 0 {
		t.Errorf("after 3 and 2 to two peers, and 2 of another router: sent %d, own %d, accepted %d", r.Counters.Sent, r.Own.Count, r.Counters.Accepted)
	}
}
