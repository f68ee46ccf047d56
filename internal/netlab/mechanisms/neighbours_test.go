package mechanisms

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// heardFrom waits until a host shows another's adverts in a checksum form, with its MAC address.
func heardFrom(t *testing.T, h, other *pairtest.Server, form vrrp.ChecksumForm) {
	t.Helper()
	await(t, h, moveBound, func(i node.InstanceStatus) bool {
		for _, s := range i.Routers[0].Speakers {
			if s.Checksum == form.String() && s.MAC == other.MAC().String() {
				return true
			}
		}
		return false
	})
}

// TestChecksumOnTheWire tells of a host that sends the checksum of RFC 9568 and one that sends the other: they understand each
// other, each goes on sending what is written, and each names the other.
func TestChecksumOnTheWire(t *testing.T) {
	t.Parallel()
	c := pair(t, instance(`checksum = { lb1 = "rfc9568", lb2 = "auto" }[hostname]
  advertise_interval = "200ms"`))
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	heardFrom(t, lb2, lb1, vrrp.ChecksumMessage)
	lb2.Says(t, `checksum-form from 10.0.0.11 \(`+lb1.MAC().String()+`\).*write checksum = \\?"rfc9568`, moveBound)
	lb1.Does(t, 0, "drain")
	c.Only(t, "lb2", moveBound)
	heardFrom(t, lb1, lb2, vrrp.ChecksumPseudoHeader)
	lb1.Says(t, `checksum-form from 10.0.0.12 .*remove checksum`, moveBound)
	if out := lb1.Does(t, 0, "status"); !strings.Contains(out, "checksum pseudo-header") {
		t.Errorf("status shows no checksum form:\n%s", out)
	}
	lb1.Does(t, 0, "undrain")
	c.Settled(t, "lb1")
}

// TestStrangers tells of others on the link: a CARP cluster with our number, one with another, and a VRRP router of another
// number. None of them moves anything, and each is shown as what it is.
func TestStrangers(t *testing.T) {
	t.Parallel()
	c := pair(t, instance(""))
	from := time.Now()
	carp := labtest.Host(t, c.Lab, "carp", "10.0.0.31/24")
	other := labtest.Host(t, c.Lab, "other", "10.0.0.32/24")
	ucarp(t, carp, "71", "10.0.0.131")
	ucarp(t, other, "9", "10.0.0.132")
	pairtest.StartKeepalived(t, other, `
vrrp_instance theirs {
	interface eth0
	state BACKUP
	version 3
	virtual_router_id 8
	priority 100
	advert_int 1
	virtual_ipaddress {
		10.0.0.133
	}
}
`)
	lb1 := c.Get("lb1")
	i := await(t, lb1, settleBound, func(i node.InstanceStatus) bool { return i.Routers[0].Refused["carp"] != nil })
	if count := i.Routers[0].Refused["carp"]; count.Last.String() != "10.0.0.31" || !strings.Contains(count.Text, "--vhid") {
		t.Errorf("lb1 counts %+v", count)
	}
	for _, h := range c.Hosts {
		h.Says(t, `adverts from 10.0.0.31 .*are refused: CARP, not VRRP`, moveBound)
	}
	labtest.Eventually(t, settleBound, func() (bool, string) {
		out := lb1.Does(t, 0, "status")
		for _, want := range []string{"unknown-vrid, last from 10.0.0.32 (" + other.MAC().String() + ") for VRID 8", "carp, last from 10.0.0.32 (00:00:5e:00:00:09) for VRID 9"} {
			if !strings.Contains(out, want) {
				return false, "status does not show " + want + ":\n" + out
			}
		}
		return true, ""
	})
	c.Rests(t, from, time.Now().Add(time.Second))
	for _, h := range c.Hosts {
		if n := h.Logged("are refused"); n != 1 {
			t.Errorf("%s has %d lines about refusals, want one about CARP with our number", h.Name(), n)
		}
	}
}

// ucarp starts a CARP host that becomes master.
func ucarp(t *testing.T, h *netlab.Host, vhid, address string) {
	t.Helper()
	labtest.Require(t, "ucarp")
	script := filepath.Join(h.Dir(), "nothing")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	source, _, _ := strings.Cut(h.Addresses()[0].String(), "/")
	_, err := h.Start("ucarp", "-i", netlab.Interface, "-s", source, "-v", vhid, "-p", "secret", "-a", address, "-u", script, "-d", script)
	if err != nil {
		t.Fatal(err)
	}
}
