package main

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

var update = flag.Bool("update", false, "write what the screens look like now into testdata")

var (
	screenNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ip10      = netip.MustParseAddr("192.0.2.10")
	ip6       = netip.MustParseAddr("2001:db8::10")
	lb2       = netip.MustParseAddr("10.0.0.12")
)

func ago(d time.Duration) time.Time { return screenNow.Add(-d) }

// reports are the screens: each is a file of testdata.
var reports = map[string]node.Report{
	"master": {
		Version: "1.2.3", PID: 4711, Started: ago(3 * time.Hour), Config: node.ConfigReport{Paths: []string{"/etc/understudy"}, Loaded: ago(3 * time.Hour)},
		Node: &node.Status{Node: "lb1", At: ago(10 * time.Millisecond), Instances: []node.InstanceStatus{{
			Name: "web", Interface: "eth0", VRID: 71, State: node.Master, Since: ago(2 * time.Hour), Why: "no other master", Priority: 90,
			Terms:     []node.Term{{What: "base", Value: 150}, {What: `check "backends"`, Value: -60}},
			Addresses: []netip.Addr{ip10, ip6}, Holding: true, Confirmed: true, Lease: 2 * time.Second,
			Beside:     "192.0.2.10 is on eth0 already and not ours: something else set it",
			Routers:    []node.RouterStatus{{Family: "IPv4", State: "master"}, {Family: "IPv6", State: "master", SendError: "operation not permitted"}},
			LastChange: node.Change{From: node.Backup, To: node.Master, Why: "no other master", At: ago(2 * time.Hour), Took: 2300 * time.Microsecond},
		}}},
		Checks: []node.CheckReport{
			{Name: "nginx", Kind: "http", Known: true, Healthy: true, Reason: "200 OK", At: ago(400 * time.Millisecond), Took: 1234 * time.Microsecond, Warning: "no event tells of a change"},
			{Name: "backends", Kind: "script", Known: true, Reason: "exit status 2: \x1b[2JCRITICAL", Streak: 1, Need: 2, At: ago(time.Second), Took: time.Second},
		},
		Hooks: []node.HookReport{{Name: "tell", Instance: "web", State: "master", At: ago(2 * time.Hour), Took: 12 * time.Millisecond}},
	},
	"drained": {
		Version: "1.2.3", PID: 4711, Started: ago(50 * time.Hour),
		Config: node.ConfigReport{
			Paths: []string{"/etc/understudy"}, Loaded: ago(49 * time.Hour), Since: ago(5 * time.Minute),
			Rejected:  "/etc/understudy/understudy.hcl:4:15: error: vrid is 300; allowed: 1..255\n    4 |   vrid      = 300",
			Unwatched: "watch /etc/understudy/conf.d: no space left on device",
		},
		Node: &node.Status{Node: "lb1", At: ago(20 * time.Second), Drained: []string{"admin", "nginx-stop"}, Instances: []node.InstanceStatus{
			{
				Name: "web", Interface: "eth0", VRID: 71, State: node.Backup, Since: ago(90 * time.Second), Why: "handed over to 10.0.0.12", Priority: 1,
				Terms: []node.Term{{What: "base", Value: 150}}, Unhealthy: []string{"drained by admin", "drained by nginx-stop"}, Addresses: []netip.Addr{ip10},
				Routers: []node.RouterStatus{{
					Family: "IPv4", Peer: lb2, PeerPrio: 100, Heard: ago(200 * time.Millisecond), MasterDown: 3996 * time.Millisecond,
					Speakers: []node.SpeakerStatus{{
						Address: lb2, MAC: "02:00:00:00:00:02", Heard: ago(200 * time.Millisecond), Priority: 100, Interval: time.Second, Checksum: "rfc9568",
						Message: 3596, Refused: "checksum",
					}, {
						Address: lb2.Next(), Heard: ago(time.Second), Priority: 90, Interval: time.Second, Checksum: "rfc9568", PseudoHeader: 4, Message: 3596,
					}, {
						Address: lb2.Next().Next(), Heard: ago(time.Second), Priority: 80, Interval: time.Second, Checksum: "pseudo-header", PseudoHeader: 40, Message: 2,
					}},
					Refused: node.Tally{
						"checksum": {Count: 3, Last: lb2, MAC: "02:00:00:00:00:02", At: ago(time.Second), Text: vrrp.ErrChecksum.Error()},
						"ttl":      {Count: 2, Last: lb2, At: ago(time.Hour), Text: vrrp.ErrHopLimit.Error()},
					},
					Notices: node.Tally{"interval-mismatch": {Count: 7, Last: lb2, At: ago(time.Minute), Text: "its interval is 2s"}},
				}},
				Contention: &node.Contention{At: ago(time.Hour), IP: ip10, MAC: "02:00:00:00:00:02"},
				Leftover:   &node.Leftover{Addresses: []netip.Addr{ip10}, Why: `remove 192.0.2.10 from "eth0": no buffer space available`},
				LastChange: node.Change{From: node.Leaving, To: node.Backup, Why: "handed over to 10.0.0.12", At: ago(90 * time.Second)},
				LetGo:      node.LetGo{At: ago(89 * time.Second), To: "10.0.0.12"},
			},
			{
				Name: "mail", Interface: "eth1", VRID: 72, State: node.Fault, Since: ago(time.Minute), Why: `interface "eth1" is down (ip link set eth1 up)`, Priority: 1,
				Terms: []node.Term{{What: "base", Value: 100}}, Unhealthy: []string{"drained by admin"}, Addresses: []netip.Addr{ip6},
				Routers: []node.RouterStatus{{Family: "IPv6"}}, LetGo: node.LetGo{At: ago(time.Minute)}, Retry: ago(-5 * time.Second),
			},
		}, Links: []node.LinkStatus{{Name: "eth0", Overlooked: 99, Stray: node.Tally{
			"unknown-vrid": {Count: 12, Last: lb2, MAC: "02:00:00:00:00:02", VRID: 9, At: ago(time.Second), Text: vrrp.ErrUnknownVRID.Error()},
		}, Dropped: []node.DroppedStatus{{Address: lb2, At: ago(time.Second), Text: "adverts of 10.0.0.12 reach eth0 and are dropped on this host"}}}}},
		Hooks: []node.HookReport{{Name: "tell", Instance: "web", State: "backup", At: ago(90 * time.Second), Took: 10 * time.Second, Error: "timed out after 10s", Output: "asking\nno answer\n"}},
	},
	"authenticated": {
		Version: "1.2.3", PID: 4711, Started: ago(time.Hour), Config: node.ConfigReport{Paths: []string{"/etc/understudy"}, Loaded: ago(time.Minute)},
		Node: &node.Status{Node: "lb1", Instances: []node.InstanceStatus{{
			Name: "web", Interface: "eth0", VRID: 71, State: node.Backup, Since: ago(time.Hour), Why: "listening", Priority: 100,
			Terms: []node.Term{{What: "base", Value: 100}}, Addresses: []netip.Addr{ip10, ip6},
			Routers: []node.RouterStatus{
				{Family: "IPv4", Peer: lb2, PeerPrio: 150, Heard: ago(time.Second), Counters: node.Counters{Signed: 3600, Unsigned: 12}, Auth: &node.AuthStatus{
					Mode: "permissive", Active: 2, Keys: []uint8{1, 2}, Senders: []node.SenderStatus{{Address: lb2, Key: 1, Heard: ago(time.Second), Ahead: -1500 * time.Millisecond}},
				}},
				{Family: "IPv6", Auth: &node.AuthStatus{Mode: "receive-only", Active: 1, Keys: []uint8{1}}},
			},
		}, {
			Name: "old", Interface: "eth0", VRID: 72, State: node.Backup, Since: ago(time.Hour), Why: "listening", Priority: 100,
			Terms: []node.Term{{What: "base", Value: 100}}, Addresses: []netip.Addr{ip10},
			Routers: []node.RouterStatus{{Family: "IPv4", Auth: &node.AuthStatus{Mode: "password"}}},
		}}},
	},
	"unicast": {
		Version: "1.2.3", PID: 4711, Started: ago(3 * time.Hour), Config: node.ConfigReport{Paths: []string{"/etc/understudy"}, Loaded: ago(3 * time.Hour)},
		Reexec:  &node.ReexecReport{At: ago(2 * time.Hour), From: "1.2.2", Refused: "/usr/bin/understudy refuses to go on from here: exit status 1", RefusedAt: ago(time.Minute)},
		Remarks: map[string]string{"web": "forged ICMP redirects can lead its adverts away"},
		Node: &node.Status{Node: "lb3", Instances: []node.InstanceStatus{{
			Name: "web", Interface: "eth0", VRID: 71, State: node.Backup, Since: ago(2 * time.Hour), Why: "listening", Priority: 90,
			Terms: []node.Term{{What: "base", Value: 90}}, Addresses: []netip.Addr{ip10},
			Routers: []node.RouterStatus{{
				Family: "IPv4", State: "backup", Peer: lb2, PeerPrio: 100, Heard: ago(200 * time.Millisecond),
				Peers: []node.PeerStatus{
					{Address: netip.MustParseAddr("10.0.0.11"), SendError: "network is unreachable", Former: true},
					{Name: "lb2.example", Address: lb2, Heard: ago(200 * time.Millisecond), Priority: 100},
					{Name: "lb4.example", Problem: "lookup lb4.example: no such host"},
				},
				Unicast: true,
			}, {
				Family: "IPv6", State: "backup", Peers: []node.PeerStatus{{Name: "lb4.example", Problem: "not resolved yet"}},
			}},
		}}},
	},
	"shadow": {
		Version: "1.2.3", PID: 4711, Started: ago(3 * time.Hour), Config: node.ConfigReport{Paths: []string{"/etc/understudy"}, Loaded: ago(3 * time.Hour)},
		Node: &node.Status{Node: "lb1", Shadow: true, Instances: []node.InstanceStatus{
			{
				Name: "web", Interface: "eth0", VRID: 71, State: node.Master, Since: ago(2 * time.Hour), Why: "handed over by 10.0.0.12", Priority: 150,
				Terms: []node.Term{{What: "base", Value: 150}}, Addresses: []netip.Addr{ip10},
				Compared: &node.Comparison{Agrees: true, Since: ago(2 * time.Hour), Why: "would be master with priority 150 (handed over by 10.0.0.12), and this host advertises priority 150"},
				Routers: []node.RouterStatus{{
					Family: "IPv4", State: "master", Own: &node.OwnAdverts{From: ip10, Priority: 150, Count: 7200, Heard: ago(300 * time.Millisecond), Same: []string{"version", "priority", "checksum"}},
				}},
			},
			{
				Name: "mail", Interface: "eth1", VRID: 72, State: node.Leaving, Since: ago(time.Minute), Why: `check "nginx": 503`, Priority: 1,
				Terms: []node.Term{{What: "base", Value: 150}}, Unhealthy: []string{`check "nginx": 503`}, Addresses: []netip.Addr{ip6},
				Compared: &node.Comparison{Since: ago(time.Minute), Why: `would be leaving with priority 1 (check "nginx": 503), and this host advertises priority 150`},
				Routers: []node.RouterStatus{{
					Family: "IPv6", State: "leaving", Own: &node.OwnAdverts{Priority: 150, Count: 9, Heard: ago(time.Second),
						Differs: []string{`priority 150, here 1: unhealthy (check "nginx": 503)`, `interval 2s, here 1s: write advertise_interval = "2s"`}, Same: []string{"version"}},
				}},
			},
		}},
		Hooks: []node.HookReport{{Name: "tell", Instance: "web", State: "master", At: ago(2 * time.Hour), Output: "not run: this is a shadow"}},
	},
	"starting": {
		Version: "devel", PID: 1, Started: ago(100 * time.Millisecond), Config: node.ConfigReport{Paths: []string{"a.hcl", "b.hcl"}, Loaded: ago(100 * time.Millisecond)},
		Node: &node.Status{Node: "lb1", Instances: []node.InstanceStatus{{
			Name: "web", Interface: "eth0", VRID: 71, State: node.Init, Since: ago(100 * time.Millisecond), Why: `check "nginx" has no result yet`, Priority: 150,
			Terms: []node.Term{{What: "base", Value: 150}}, Addresses: []netip.Addr{ip10}, Routers: []node.RouterStatus{{Family: "IPv4"}},
		}}},
		Checks: []node.CheckReport{
			{Name: "nginx", Kind: "http"},
			{Name: "page", Kind: "http", Known: true, Reason: "refused", At: ago(time.Second), Hint: "net.ipv4.ip_nonlocal_bind is 0"},
			{Name: "tls", Kind: "tcp", Known: true, Reason: "refused", At: ago(time.Second), Hint: "net.ipv4.ip_nonlocal_bind is 0"},
		},
	},
}

func init() {
	reports["two-masters"] = node.Report{
		Version: "1.2.3", PID: 4711, Started: ago(time.Hour), Config: node.ConfigReport{Paths: []string{"/etc/understudy"}, Loaded: ago(time.Hour)},
		Node: &node.Status{Node: "lb1", Instances: []node.InstanceStatus{{
			Name: "web", Interface: "eth0", VRID: 71, State: node.Master, Since: ago(time.Hour), Why: "no other master", Priority: 150,
			Terms: []node.Term{{What: "base", Value: 150}}, Addresses: []netip.Addr{ip10}, Holding: true, Confirmed: true, Lease: 2 * time.Second,
			Contention: &node.Contention{At: ago(900 * time.Millisecond), IP: ip10, MAC: "02:00:00:00:00:02"},
			TwoMasters: "02:00:00:00:00:02 answers for 192.0.2.10 while this host is master, and no advert of it is heard: two masters; look on both hosts",
			Routers:    []node.RouterStatus{{Family: "IPv4", State: "master"}},
		}}},
	}
	instance := func(name, iface string, own uint8, routers ...node.RouterStatus) node.InstanceStatus {
		return node.InstanceStatus{
			Name: name, Group: "edge", Interface: iface, VRID: 71, State: node.Backup, Since: ago(time.Minute), Why: "listening", Priority: 100, Own: own,
			Terms: []node.Term{{What: "base", Value: int(own)}}, Addresses: []netip.Addr{ip10}, Routers: routers,
		}
	}
	reports["group"] = node.Report{
		Version: "1.2.3", PID: 4711, Started: ago(time.Hour), Config: node.ConfigReport{Paths: []string{"/etc/understudy"}, Loaded: ago(time.Hour)},
		Node: &node.Status{
			Node: "lb2",
			Groups: []node.GroupStatus{{
				Name: "edge", Instances: []string{"web", "inside"}, State: node.Backup, Since: ago(time.Minute), Why: "listening", Priority: 100,
				Waiting: []string{"web (IPv4) hears 10.0.0.12 with priority 150"},
			}},
			Instances: []node.InstanceStatus{
				instance("web", "eth0", 120, node.RouterStatus{Family: "IPv4", Peer: lb2, PeerPrio: 150, Heard: ago(200 * time.Millisecond)}),
				instance("inside", "eth1", 100, node.RouterStatus{Family: "IPv4", Peer: lb2, PeerPrio: 150, Heard: ago(10 * time.Second), Waiting: "10.0.0.12 is silent for 3.609s"}),
			},
		},
	}
}

func TestScreens(t *testing.T) {
	for name, r := range reports {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", "screen-"+name+".txt")
			got := screen(r, screenNow)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("screen (-want +got); -update writes it:\n%s", diff)
			}
			for range 20 { // maps have no order of their own
				if again := screen(r, screenNow); again != got {
					t.Fatalf("the same report looks different:\n%s", cmp.Diff(got, again))
				}
			}
		})
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 149 * time.Millisecond: "100ms", 59*time.Second + 940*time.Millisecond: "59.9s", 61400 * time.Millisecond: "1m1s",
		47 * time.Hour: "47h0m0s", 50 * time.Hour: "2d2h", -time.Second: "-1s",
	} {
		if got := age(screenNow, ago(d)); got != want {
			t.Errorf("age of %s is %q, want %q", d, got, want)
		}
	}
}

func TestStatusOfOneName(t *testing.T) {
	all := func() *node.Status {
		return &node.Status{
			Groups:    []node.GroupStatus{{Name: "edge", State: node.Fault, Instances: []string{"web", "inside"}}},
			Instances: []node.InstanceStatus{{Name: "web", Group: "edge"}, {Name: "inside", Group: "edge"}, {Name: "mail", State: node.Master}},
		}
	}
	tests := []struct {
		name              string
		groups, instances int
		code              int
	}{{"edge", 1, 2, exitFault}, {"mail", 0, 1, exitOK}, {"nobody", 0, 0, 0}}
	for _, tt := range tests {
		s := all()
		err := only(s, tt.name)
		found := err == nil
		if !found && !strings.HasSuffix(err.Error(), "there are: edge, web, inside, mail") {
			t.Errorf("%s: %v", tt.name, err)
		}
		if found != (tt.instances > 0) || len(s.Groups) != tt.groups || len(s.Instances) != tt.instances {
			t.Errorf("%s: found %v, %d groups and %d instances, want %d and %d", tt.name, found, len(s.Groups), len(s.Instances), tt.groups, tt.instances)
		}
		if !found {
			continue
		}
		if code := instanceCode(node.Report{Node: s}); code != tt.code {
			t.Errorf("%s: exit code %d, want %d", tt.name, code, tt.code)
		}
	}
}

func TestStatusCode(t *testing.T) {
	in := func(s node.State, holding bool, drained ...string) node.Report {
		return node.Report{Node: &node.Status{Drained: drained, Instances: []node.InstanceStatus{{State: s, Holding: holding}}}}
	}
	tests := []struct {
		name string
		r    node.Report
		want int
	}{
		{"master", in(node.Master, true), exitOK},
		{"handing over and still serving", in(node.Leaving, true), exitOK},
		{"backup", in(node.Backup, false), exitBackup},
		{"init", in(node.Init, false), exitBackup},
		{"fault", in(node.Fault, false), exitFault},
		{"drained", in(node.Backup, false, "admin"), exitFault},
		{"drained, and serving because nobody took over", in(node.Master, true, "admin"), exitOK},
		{"one of two masters", reports["two-masters"], exitOK},
	}
	for _, tt := range tests {
		if got := instanceCode(tt.r); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// What monitoring asks for hangs on what somebody has to do.
func TestHostCode(t *testing.T) {
	of := func(change func(*node.Report, *node.InstanceStatus)) node.Report {
		r := node.Report{Node: &node.Status{Instances: []node.InstanceStatus{{State: node.Master, Routers: make([]node.RouterStatus, 1)}, {State: node.Backup}}}}
		change(&r, &r.Node.Instances[0])
		return r
	}
	tests := []struct {
		name string
		r    node.Report
		want int
	}{
		{"all is well", of(func(*node.Report, *node.InstanceStatus) {}), exitOK},
		{"drained", of(func(r *node.Report, _ *node.InstanceStatus) { r.Node.Drained = []string{"admin"} }), exitOK},
		{"the program was exchanged", of(func(r *node.Report, _ *node.InstanceStatus) { r.Reexec = &node.ReexecReport{From: "1.0"} }), exitOK},
		{"a check that has no verdict yet", of(func(r *node.Report, _ *node.InstanceStatus) { r.Checks = []node.CheckReport{{}} }), exitOK},
		{"an unhealthy check", of(func(r *node.Report, _ *node.InstanceStatus) { r.Checks = []node.CheckReport{{Known: true}} }), exitLook},
		{"a hook that failed", of(func(r *node.Report, _ *node.InstanceStatus) {
			r.Hooks = []node.HookReport{{}, {Error: "exit status 1"}}
		}), exitLook},
		{"a configuration that was rejected", of(func(r *node.Report, _ *node.InstanceStatus) { r.Config.Rejected = "no" }), exitLook},
		{"an exchange that was refused", of(func(r *node.Report, _ *node.InstanceStatus) { r.Reexec = &node.ReexecReport{Refused: "no"} }), exitLook},
		{"a peer without an address", of(func(_ *node.Report, i *node.InstanceStatus) { i.Routers[0].Peers = []node.PeerStatus{{Problem: "no"}} }), exitLook},
		{"a master that refuses another host's adverts", of(func(_ *node.Report, i *node.InstanceStatus) { i.Unheeded = "no" }), exitLook},
		{"adverts that do not leave", of(func(_ *node.Report, i *node.InstanceStatus) { i.Routers[0].SendError = "no" }), exitFault},
		{"two masters", of(func(_ *node.Report, i *node.InstanceStatus) { i.TwoMasters = "two" }), exitFault},
		{"an address in two virtual routers", of(func(_ *node.Report, i *node.InstanceStatus) { i.Clash = "two" }), exitFault},
		{"an address that could not be removed", of(func(_ *node.Report, i *node.InstanceStatus) { i.Leftover = new(node.Leftover) }), exitFault},
		{"something else has its addresses too", of(func(_ *node.Report, i *node.InstanceStatus) { i.Beside = "keepalived" }), exitFault},
		{"adverts that this host drops", of(func(r *node.Report, _ *node.InstanceStatus) {
			r.Node.Links = []node.LinkStatus{{Name: "eth0", Dropped: []node.DroppedStatus{{}}}}
		}), exitFault},
		{"one in fault, and a hook failed", of(func(r *node.Report, i *node.InstanceStatus) {
			i.State, r.Hooks = node.Fault, []node.HookReport{{Error: "exit status 1"}}
		}), exitFault},
	}
	for _, tt := range tests {
		if got := hostCode(tt.r); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestOneKeySigns: after a rotation only key 2 is left, which is not "key 2 of 1".
func TestOneKeySigns(t *testing.T) {
	m := node.RouterStatus{Auth: &node.AuthStatus{Mode: "enforce", Active: 2, Keys: []uint8{2}}}
	if got, want := auth(m, time.Now()), "enforce, key 2 signs; accepted 0 signed, 0 not signed"; got != want {
		t.Errorf("the line is %q, want %q", got, want)
	}
}

// TestVirtualMACIsShown: who looks for the addresses on the interface does not find them there.
func TestVirtualMACIsShown(t *testing.T) {
	for virtual, want := range map[bool]string{
		false: "(vrid 72 on eth0)\n", true: "(vrid 72 on eth0, virtual MAC; its addresses: ip address show type macvlan)\n",
	} {
		var b strings.Builder
		instanceLines(&b, node.InstanceStatus{Name: "web", Interface: "eth0", VRID: 72, VirtualMAC: virtual}, time.Now())
		if line, _, _ := strings.Cut(b.String(), "\n"); !strings.HasSuffix(line+"\n", want) {
			t.Errorf("virtual: %t: %q, want %q at its end", virtual, line, want)
		}
	}
}
