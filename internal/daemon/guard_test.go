package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// fakeHost has eth0 and eth1 with an address of each family, eth2 with one of IPv4, eth3 without a carrier, and no other interface.
// IPv4 virtual MAC addresses stand against a setting of all interfaces, those of IPv6 against one of eth1.
func fakeHost(hinders bool) host {
	look := func(names []string, virtual func(netip.Addr) bool) (links []linux.Link, err error) {
		for n, name := range names {
			l := linux.Link{Name: name, Index: n + 1, Exists: true, Up: true, MAC: "02:00:00:00:00:01"}
			own := []netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("fe80::11")}
			switch name {
			case "eth0", "eth1":
			case "eth2":
				own = own[:1]
			case "eth3":
				l.Up, l.Reason = false, "eth3 has no carrier"
			default:
				l, own = linux.Link{Name: name, Reason: name + " does not exist"}, nil
			}
			for _, ip := range own {
				switch {
				case virtual(ip):
					continue
				case ip.Is4():
					l.Source4 = ip
				default:
					l.Source6 = ip
				}
				l.Own = append(l.Own, ip)
			}
			links = append(links, l)
		}
		return links, nil
	}
	return host{look, func(list []linux.Macvlan) ([]error, error) {
		errs := make([]error, len(list))
		for n, m := range list {
			if hinders && (!m.V6 || m.Parent == "eth1") {
				errs[n] = errors.New("a setting keeps it from working: remedy")
			}
		}
		return errs, nil
	}}
}

// refused wants an error with a text, or none.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("guard: %v, want %q", err, want)
	}
}

// Some ways to change an instance.
func withMAC(i node.Instance) node.Instance { i.VirtualMAC = true; return i }
func sentFrom(source string, i node.Instance) node.Instance {
	i.Sources = []netip.Addr{netip.MustParseAddr(source)}
	return i
}

func TestGuard(t *testing.T) {
	web, both := on("web", "eth0", 71, "192.0.2.10"), on("web", "eth0", 71, "192.0.2.10", "2001:db8::10")
	only4 := on("web", "eth2", 71, "192.0.2.10")
	list := func(instances ...node.Instance) []node.Instance { return instances }
	const stops = `instance "web" would be in fault, and what "web" serves on "eth0" would be nowhere with the same file on all hosts; first put right: `
	tests := []struct {
		name     string
		from, to []node.Instance
		want     string // part of the error; empty: none
	}{
		{"a family that the interface can speak is added", list(web), list(both), ""},
		{"one that it cannot speak", list(only4), list(on("web", "eth2", 71, "192.0.2.10", "2001:db8::10")), `"eth2" has no IPv6 link-local address`},
		{"an address of a family that runs is added", list(only4), list(on("web", "eth2", 71, "192.0.2.10", "192.0.2.11")), ""},
		{"a family is removed", list(both), list(web), ""},
		{"a source that the interface has", list(web), list(sentFrom("10.0.0.11", web)), ""},
		{"one that it does not have", list(web), list(sentFrom("10.0.0.12", web)), stops + `interface "eth0" does not have 10.0.0.12`},
		{"one that it did not have before", list(sentFrom("10.0.0.12", web)), list(sentFrom("10.0.0.12", both)), ""},
		{"the only address to send from becomes a virtual one", list(web), list(on("web", "eth0", 71, "10.0.0.11")), stops + `interface "eth0" has no IPv4 address`},
		{"a virtual address is given up", list(on("web", "eth0", 71, "10.0.0.11", "2001:db8::10")), list(web), ""},

		{"another interface", list(web), list(on("web", "eth1", 71, "192.0.2.10")), ""},
		{"one whose name is misspelt", list(web), list(on("web", "ens18", 71, "192.0.2.10")), stops + "ens18 does not exist"},
		{"and the instance has another name and address", list(web), list(on("shop", "ens18", 71, "192.0.2.10")), `instance "shop" would be in fault, and what "web" serves on "eth0"`},
		{"one without a carrier", list(web), list(on("web", "eth3", 71, "192.0.2.10")), stops + "eth3 has no carrier"},
		{"one without an address of the family", list(both), list(on("web", "eth2", 71, "2001:db8::10")), `"eth2" has no IPv6 link-local address`},
		{"from one that is no better", list(on("web", "eth3", 71, "192.0.2.10")), list(on("web", "ens18", 71, "192.0.2.10")), ""},
		{"one more instance, for an interface to come", list(web), list(web, on("shop", "ens18", 72, "192.0.2.20")), ""},
		{"one is removed, another added for an interface to come", list(web), list(on("shop", "ens18", 72, "192.0.2.20")), ""},
		{"one more, with the address that another one has elsewhere", list(web), list(web, on("shop", "ens18", 72, "192.0.2.10")), ""},
		{"a renamed one, and its name for an interface to come", list(web), list(on("shop", "eth0", 71, "192.0.2.10"), on("web", "ens18", 72, "192.0.2.20")), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refused(t, guard(Options{}, &config.Config{Instances: tt.from}, &config.Config{Instances: tt.to}, fakeHost(false)), tt.want)
		})
	}
}

func TestGuardAndVirtualMACs(t *testing.T) {
	web, web6 := on("web", "eth0", 71, "192.0.2.10"), on("web", "eth0", 71, "2001:db8::10")
	shop := on("shop", "eth0", 72, "192.0.2.20")
	renamed := withMAC(web)
	renamed.Name = "site"
	list := func(instances ...node.Instance) []node.Instance { return instances }
	const stops = `instance "web" would be in fault`
	tests := []struct {
		name     string
		from, to []node.Instance
		want     string
	}{
		{"it is given one", list(web), list(withMAC(web)), stops},
		{"of a family that nothing hinders", list(web6), list(withMAC(web6)), ""},
		{"under another name", list(web), list(renamed), `instance "site" would be in fault, and what "web" serves`},
		{"with another VRID", list(web), list(withMAC(on("web", "eth0", 73, "192.0.2.10"))), stops},
		{"on another interface", list(withMAC(web6)), list(withMAC(on("web", "eth1", 71, "2001:db8::10"))), stops},
		{"with a family that is hindered", list(withMAC(web6)), list(withMAC(on("web", "eth0", 71, "2001:db8::10", "192.0.2.10"))), stops},
		{"half of it", list(on("web", "eth0", 71, "192.0.2.10", "2001:db8::10")), list(withMAC(web), on("web6", "eth0", 71, "2001:db8::10")), stops},
		{"the half that is another", list(on("web", "eth0", 71, "192.0.2.10", "2001:db8::10")), list(web6, withMAC(on("web4", "eth0", 71, "192.0.2.10"))), `instance "web4" would be`},
		{"another one is new with it", list(web), list(on("web", "eth0", 71, "192.0.2.11"), withMAC(shop)), ""},
		{"it is in fault for it already", list(withMAC(web), shop), list(withMAC(on("web", "eth0", 73, "192.0.2.10")), on("shop", "eth0", 72, "192.0.2.21")), ""},
		{"it loses it", list(withMAC(web)), list(web), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, after := &config.Config{Instances: tt.from}, &config.Config{Instances: tt.to}
			err := guard(Options{}, before, after, fakeHost(true))
			if refused(t, err, tt.want); err != nil && !strings.HasSuffix(err.Error(), "; first put right: a setting keeps it from working: remedy") {
				t.Errorf("without the remedy: %v", err)
			}
			refused(t, guard(Options{}, before, after, fakeHost(false)), "")
			refused(t, guard(Options{Shadow: true}, before, after, fakeHost(true)), "") // it makes no device
		})
	}
}

// TestGuardAndGroups: one fate is one stop, also where the instance itself does not change.
func TestGuardAndGroups(t *testing.T) {
	web, shop, tell := on("web", "eth0", 71, "192.0.2.10"), on("shop", "eth0", 72, "192.0.2.20"), on("tell", "eth3", 73, "192.0.2.30")
	with := func(members ...string) *config.Config {
		return &config.Config{Instances: []node.Instance{web, shop, tell}, Groups: []node.Group{{Name: "edge", Instances: members}}}
	}
	refused(t, guard(Options{}, with("web", "shop"), with("web", "shop", "tell"), fakeHost(false)), `instance "web" would be in fault, and what "web" serves on "eth0"`)
	refused(t, guard(Options{}, with("web", "tell"), with("web", "shop", "tell"), fakeHost(false)), `instance "shop" would be in fault`)
	refused(t, guard(Options{}, with("web", "shop", "tell"), with("web", "shop"), fakeHost(false)), "")
	err := guard(Options{}, with("web", "tell"), with("web", "shop", "tell"), fakeHost(false))
	if err != nil && strings.Contains(err.Error(), `instance "web"`) {
		t.Errorf("refused for what was in fault before: %v", err)
	}
}

// TestGuardThatCannotLook: what stops an instance is not found out by trying.
func TestGuardThatCannotLook(t *testing.T) {
	web := &config.Config{Instances: []node.Instance{on("web", "eth0", 71, "192.0.2.10")}}
	more := &config.Config{Instances: append(slices.Clone(web.Instances), withMAC(on("shop", "eth0", 72, "192.0.2.20")))}
	for _, h := range []host{
		{look: func([]string, func(netip.Addr) bool) ([]linux.Link, error) { return nil, errors.New("no answer") }},
		{look: fakeHost(false).look, obstacles: func([]linux.Macvlan) ([]error, error) { return nil, errors.New("no answer") }},
	} {
		refused(t, guard(Options{}, web, more, h), "look whether the instances could run: no answer")
		refused(t, guard(Options{}, web, web, h), "") // nothing to look for
	}
}
