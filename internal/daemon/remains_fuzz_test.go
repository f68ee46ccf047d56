package daemon

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// FuzzInstances reads an instances.json of another version, or of another hand: it is refused, or a node can run with it
// until every address was handed over.
func FuzzInstances(f *testing.F) {
	for _, auth := range []*vrrp.Auth{nil, anAuth, {Mode: vrrp.ReceiveOnly + 1, Window: time.Second}, {}} {
		whole, err := json.Marshal(node.Config{Name: "lb1", Unclaimed: time.Second, Instances: []node.Instance{{
			Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3,
			Addresses: []node.Address{{IP: netip.MustParseAddr("192.0.2.10")}, {IP: netip.MustParseAddr("2001:db8::10")}}, Auth: auth,
			Peers:   []node.Peer{{Name: "lb2"}, {IP: netip.MustParseAddr("10.0.0.12")}, {IP: netip.MustParseAddr("fe80::12")}},
			Sources: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole)
		f.Add(whole[:len(whole)/2])
	}
	f.Add([]byte(`{"Name":"lb1","Instances":[{"Name":"web","Interface":"eth0","VRID":71,"Priority":150,"Version":2,"Interval":1000000000,"DeadAdverts":3,` +
		`"Addresses":[{"IP":"192.0.2.10"}],"Auth":{"Window":5000000000,"Password":"(hidden)"}}],"Passwords":{"web":"MTExMQ==","gone":"MTExMQ=="}}`))
	for _, text := range []string{"", "{}", "null", `{"Instances":[{}]}`, `{"Passwords":{"web":"MTIzNDU2Nzg5"}}`, `{"Instances":[{"Name":"web","Interface":"eth0","VRID":1,"Priority":2}]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, instancesFile), content, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := loadInstances(dir)
		if err != nil {
			return
		}
		now := time.Unix(1, 0)
		n := node.New(cfg, now)
		for _, i := range cfg.Instances {
			n.Step(now, node.Adopt{Instance: i.Name})
			n.Step(now, node.LinkChanged{Link: node.Link{
				Name: i.Interface, Up: true, MAC: "02:00:00:00:00:01", Source4: netip.MustParseAddr("10.0.0.1"), Source6: netip.MustParseAddr("fe80::1"),
			}})
		}
		n.Step(now, node.Resolved{Name: "lb2", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.13")}})
		n.Step(now, node.Stop{})
		for range 1000 {
			at, ok := n.Deadline()
			if !ok || n.Stopped() {
				return
			}
			n.Step(at, node.Elapsed{})
			n.Status(at)
		}
	})
}

// FuzzNames reads where names led for another version, or by another hand: each leads to addresses of hosts, or nowhere with a reason,
// and can be kept again.
func FuzzNames(f *testing.F) {
	for _, text := range []string{
		"", "{}", "null", `{"lb2":{"IPs":["10.0.0.12","fe80::12%eth0","::ffff:10.0.0.12"],"Err":"gone"},"lb3":{"Err":"no such host"}}`,
		`{"lb2":{"IPs":["",null]},"":{}}`, `{"lb2":{"IPs":[""],"Err":"gone"}}`, `{"lb2":null}`, "\x00",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, namesFile), content, 0o600); err != nil {
			t.Fatal(err)
		}
		led, err := loadNames(dir)
		if err != nil {
			return
		}
		for name, s := range led {
			wrong := func(ip netip.Addr) bool { return !ip.IsValid() || ip.Is4In6() || ip.Zone() != "" }
			if len(s.IPs) == 0 && s.Err == "" || len(s.IPs) > 2*maxNameAddresses || slices.ContainsFunc(s.IPs, wrong) {
				t.Fatalf("%q leads to %v, %q", name, s.IPs, s.Err)
			}
		}
		if err := saveNames(dir, led); err != nil {
			t.Fatal(err)
		}
		again, err := loadNames(dir)
		if diff := cmp.Diff(led, again, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Fatalf("kept and read again: %v (-before +after):\n%s", err, diff)
		}
	})
}

// FuzzUnclaimed reads the word of a cleanup that somebody else wrote: it is taken away by whoever reads it, and adopts nothing outside
// the time that a cleanup can name.
func FuzzUnclaimed(f *testing.F) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, until := range []time.Time{now.Add(time.Nanosecond), now.Add(unclaimedFor), now.Add(unclaimedFor + 1), now, {}, time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)} {
		whole, err := json.Marshal(unclaimed{until, []string{"web", "mail"}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole)
		f.Add(whole[:len(whole)/2])
	}
	for _, text := range []string{"", "{}", "null", "[]", `{"until":"2026-01-01T00:00:05+24:00","instances":["web"]}`, `{"until":"2026-01-01T00:00:05Z","instances":[null,""]}`, "\x00"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, unclaimedFile)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		left, err := takeUnclaimed(dir, now)
		if len(left) > 0 {
			var said unclaimed
			if broken := json.Unmarshal(content, &said); err != nil || broken != nil || !slices.Equal(left, said.Instances) {
				t.Fatalf("%q, which says %+v, is taken for %q: %v, %v", content, said, left, err, broken)
			}
			if good := said.Until.Sub(now); good <= 0 || good > unclaimedFor {
				t.Fatalf("%q adopts, and is good for %s", content, good)
			}
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Fatalf("%q is there for another daemon: %v", content, err)
		}
		if again, err := takeUnclaimed(dir, now); len(again) > 0 || err != nil {
			t.Fatalf("taken twice: %q, %v", again, err)
		}
	})
}

// FuzzDrains reads drains that somebody else wrote: what cannot be read means drained, and what can be is changed without
// losing a name.
func FuzzDrains(f *testing.F) {
	for _, text := range []string{"", "{}", "null", `{"drains":["admin","nginx-stop"]}`, `{"drains":"admin"}`, `{"drains":[""]}`, "\x00"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		d := Drains{StateDir: t.TempDir(), RuntimeDir: t.TempDir()}
		if err := os.WriteFile(filepath.Join(d.StateDir, drainsFile), content, 0o600); err != nil {
			t.Fatal(err)
		}
		before, err := d.Load()
		if err != nil {
			if len(before) == 0 {
				t.Fatalf("%q cannot be read, and the host is not drained: %v", content, err)
			}
			return
		}
		if err := d.Set("fuzz", true); err != nil {
			t.Fatal(err)
		}
		after, err := d.Load()
		if err != nil || !slices.Contains(after, "fuzz") {
			t.Fatalf("after another drain: %q, %v", after, err)
		}
		for _, name := range before {
			if !slices.Contains(after, name) {
				t.Fatalf("%q was lost of %q: %q", name, before, after)
			}
		}
	})
}
