package daemon

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestJudge: what keeps instances from taking part on the interfaces of this host, in the words that the node has for it. Of one that can
// take part cmd/understudy tells, on a host of its own.
func TestJudge(t *testing.T) {
	none, lo := on("none", "understudy-none", 71, "192.0.2.10"), on("lo", "lo", 72, "192.0.2.11")
	lo6 := on("lo6", "lo", 73, "2001:db8::10")
	from := on("from", "lo", 74, "192.0.2.12")
	from.Sources = append(from.Sources, vip2)
	const missing = `interface "understudy-none" does not exist`
	tests := []struct {
		name      string
		instances []node.Instance
		groups    []node.Group
		want      map[string]string
	}{
		{"no instance", nil, nil, map[string]string{}},
		{"an interface that does not exist", []node.Instance{none}, nil, map[string]string{"none": missing}},
		{"one without an address of the family", []node.Instance{lo, lo6}, nil, map[string]string{
			"lo":  `interface "lo" has no IPv4 address of its own to send adverts from`,
			"lo6": `interface "lo" has no IPv6 link-local address of its own to send adverts from`,
		}},
		{"one without the source", []node.Instance{from}, nil, map[string]string{
			"from": `interface "lo" does not have 192.0.2.11, from which the adverts are to come (source)`,
		}},
		{"all of a group", []node.Instance{none, lo}, []node.Group{{Name: "edge", Instances: []string{"none", "lo"}}}, map[string]string{
			"none": "none: " + missing + `; lo: interface "lo" has no IPv4 address of its own to send adverts from`,
			"lo":   "none: " + missing + `; lo: interface "lo" has no IPv4 address of its own to send adverts from`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Judge(&config.Config{Node: "lb1", Instances: tt.instances, Groups: tt.groups}, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestAttainable: a virtual MAC address that something of this host stands in the way of is known beforehand not to be had. A shadow makes
// none, so that nothing does, and hears what a device keeps for itself.
func TestAttainable(t *testing.T) {
	web := on("web", "eth0", 71, "192.0.2.10", "2001:db8::10")
	web.VirtualMAC = true
	link := node.Link{Name: "eth0", MAC: "02:00:00:00:00:01", Swallowers: []node.Swallower{{Device: "vrrp.71"}}}
	h := host{obstacles: func(list []linux.Macvlan) ([]error, error) {
		if diff := cmp.Diff([]linux.Macvlan{{Parent: "eth0", VRID: 71}, {Parent: "eth0", VRID: 71, V6: true}}, list); diff != "" {
			t.Errorf("asked for (-want +got):\n%s", diff)
		}
		return []error{errors.New("a setting"), nil}, nil
	}}
	cfg := &config.Config{Node: "lb1", Instances: []node.Instance{web}}
	for _, tt := range []struct {
		shadow  bool
		want    string
		devices int
	}{{false, "a setting", 1}, {true, "", 0}} {
		d := newDaemon(cfg, Options{Log: hclog.NewNullLogger(), Shadow: tt.shadow})
		got, err := d.attainable(link, h)
		if list := got.VirtualMACs; err != nil || len(list) != 2 || list[0].Reason != tt.want || list[1].Reason != "" || len(got.Swallowers) != tt.devices {
			t.Errorf("shadow %t: %+v, %v; want one for IPv4 with the reason %q", tt.shadow, got, err, tt.want)
		}
	}
	h.obstacles = func([]linux.Macvlan) ([]error, error) { return nil, errors.New("no answer") }
	if _, err := newDaemon(cfg, Options{Log: hclog.NewNullLogger()}).attainable(link, h); err == nil {
		t.Error("judged without a look")
	}
}
