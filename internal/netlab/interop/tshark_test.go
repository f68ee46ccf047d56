package interop

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// spoken is one instance of both families, and one that speaks VRRPv2.
const spoken = `
instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.100", "fd00::100"]
}

instance "old" {
  interface = "eth0"
  vrid      = 73
  version   = 2
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.102"]
}

check "script" "app" {
  command  = ["/usr/bin/test", "!", "-e", "LAB/${hostname}/sick"]
  interval = "1s"
  rise     = 1
  fall     = 1
}
`

// kinds are the packets that a daemon sends, and how tshark's fields tell each.
var kinds = []struct {
	name string
	is   func(f fields) bool
}{
	{"VRRPv2", func(f fields) bool { return f["vrrp.version"] == "2" && f["vrrp.prio"] == "150" }},
	{"VRRPv2, given up", func(f fields) bool { return f["vrrp.version"] == "2" && f["vrrp.prio"] == "0" }},
	{"VRRPv3 over IPv4", func(f fields) bool { return f.v3("4") && f["vrrp.prio"] == "150" && f["vrrp.short_adver_int"] == "100" }},
	{"VRRPv3 over IPv4, unhealthy", func(f fields) bool { return f.v3("4") && f["vrrp.prio"] == "1" }},
	{"VRRPv3 over IPv4, an offer", func(f fields) bool { return f.v3("4") && f["vrrp.prio"] == "150" && f["vrrp.short_adver_int"] == "1" }},
	{"VRRPv3 over IPv4, given up", func(f fields) bool { return f.v3("4") && f["vrrp.prio"] == "0" }},
	{"VRRPv3 over IPv6", func(f fields) bool { return f.v3("6") && f["vrrp.prio"] == "150" && f["vrrp.short_adver_int"] == "100" }},
	{"VRRPv3 over IPv6, unhealthy", func(f fields) bool { return f.v3("6") && f["vrrp.prio"] == "1" }},
	{"VRRPv3 over IPv6, an offer", func(f fields) bool { return f.v3("6") && f["vrrp.prio"] == "150" && f["vrrp.short_adver_int"] == "1" }},
	{"VRRPv3 over IPv6, given up", func(f fields) bool { return f.v3("6") && f["vrrp.prio"] == "0" }},
	{"ARP, an announcement's request", func(f fields) bool { return f.arp("1") && f["arp.src.proto_ipv4"] == "10.0.0.100" }},
	{"ARP, an announcement's reply", func(f fields) bool { return f.arp("2") && f["arp.src.proto_ipv4"] == "10.0.0.100" }},
	{"ARP, a probe", func(f fields) bool { return f.arp("1") && f["arp.src.proto_ipv4"] == "0.0.0.0" }},
	{"ND, an unsolicited advertisement", func(f fields) bool {
		return f["icmpv6.type"] == "136" && f["icmpv6.nd.na.target_address"] == "fd00::100"
	}},
	{"ND, a solicitation", func(f fields) bool {
		return f["icmpv6.type"] == "135" && f["icmpv6.nd.ns.target_address"] == "fd00::100"
	}},
}

// judged are the fields that are asked for: those above, and tshark's verdicts.
var judged = []string{
	"frame.number", "vrrp.version", "vrrp.prio", "vrrp.short_adver_int", "ip.version", "ipv6.version", "arp.opcode", "arp.src.proto_ipv4", "arp.dst.proto_ipv4",
	"icmpv6.type", "icmpv6.nd.na.target_address", "icmpv6.nd.ns.target_address", "ip.ttl", "ipv6.hlim",
	"vrrp.checksum.status", "icmpv6.checksum.status", "ip.checksum.status", "_ws.malformed", "_ws.expert.message",
}

// fields are what tshark says of one packet.
type fields map[string]string

func (f fields) v3(family string) bool {
	return f["vrrp.version"] == "3" && (f["ip.version"] == family || f["ipv6.version"] == family)
}

func (f fields) arp(opcode string) bool {
	return f["arp.opcode"] == opcode && (f["arp.dst.proto_ipv4"] == "10.0.0.100" || f["arp.dst.proto_ipv4"] == "10.0.0.102")
}

// wrong is what must not be said of any packet of ours.
func (f fields) wrong() error {
	var errs []error
	for _, name := range []string{"vrrp.checksum.status", "icmpv6.checksum.status", "ip.checksum.status"} {
		if got := f[name]; got != "" && got != "1" { // 1 is good
			errs = append(errs, fmt.Errorf("%s is %s", name, got))
		}
	}
	if f["_ws.malformed"] != "" {
		errs = append(errs, fmt.Errorf("malformed: %s", f["_ws.malformed"]))
	}
	// An address that moves is announced from one MAC and then from another: that is what this is for.
	if expert := f["_ws.expert.message"]; expert != "" && !strings.HasPrefix(expert, "Duplicate IP address configured") {
		errs = append(errs, fmt.Errorf("expert: %s", expert))
	}
	for _, name := range []string{"ip.ttl", "ipv6.hlim"} {
		if got := f[name]; got != "" && got != "255" {
			errs = append(errs, fmt.Errorf("%s is %s", name, got))
		}
	}
	return errors.Join(errs...)
}

// TestTsharkAgrees lets another implementation judge every kind of packet that a daemon really sends: well formed, checksums good,
// nothing that its experts would warn of.
func TestTsharkAgrees(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "tshark", "tcpdump")
	c := pairtest.New(t, pairtest.Shape{
		Program: program, Hosts: []string{"lb1", "lb2"}, Config: spoken, VIPs: map[string]time.Duration{"10.0.0.100": 0, "fd00::100": 0, "10.0.0.102": 0},
	})
	file := filepath.Join(c.Lab.Dir(), "sent.pcap")
	dump, err := c.User.Start("tcpdump", "-U", "--immediate-mode", "-Z", "root", "-i", netlab.Interface, "-w", file, "arp or proto 112 or ip6")
	if err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, settleBound, func() (bool, string) {
		return strings.Contains(dump.Output(), "listening on"), "tcpdump says " + dump.Output()
	})
	speak(t, c)
	if err := errors.Join(dump.Signal(syscall.SIGTERM), dump.Wait(t.Context())); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, f := range dissect(t, c, file) {
		if err := f.wrong(); err != nil {
			t.Errorf("packet %v: %v", f, err)
		}
		for _, k := range kinds {
			if k.is(f) {
				counts[k.name]++
			}
		}
	}
	for _, k := range kinds {
		if counts[k.name] == 0 {
			t.Errorf("no packet of the kind %q was sent", k.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%4d %s", counts[name], name)
	}
}

// speak makes two daemons say all that they can say.
func speak(t *testing.T, c *pairtest.Cluster) {
	t.Helper()
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	l := &lab{Cluster: c, us: lb1}
	l.sick(t, true) // it asks the link before it takes the addresses as the last resort
	lb1.Start(t)
	c.Only(t, "lb1", settleBound)
	l.sick(t, false)
	l.settles(t, true)
	lb2.Start(t)
	l.us = lb2
	l.settles(t, false)
	lb1.Does(t, 0, "drain")
	c.Only(t, "lb2", settleBound)
	lb1.Does(t, 0, "undrain")
	c.Only(t, "lb1", settleBound)
	lb1.Stop(t)
	lb2.Stop(t)
}

// dissect has tshark read what the two hosts sent of these protocols.
func dissect(t *testing.T, c *pairtest.Cluster, file string) []fields {
	t.Helper()
	argv := []string{
		"tshark", "-r", file, "-o", "vrrp.v3_checksum_as_in_v2:FALSE", "-o", "ip.check_checksum:TRUE",
		"-Y", fmt.Sprintf("eth.src in {%v, %v} && (vrrp || arp || icmpv6.type in {135, 136})", c.Get("lb1").MAC(), c.Get("lb2").MAC()),
		"-T", "fields", "-E", "separator=/t", "-E", "occurrence=a",
	}
	for _, name := range judged {
		argv = append(argv, "-e", name)
	}
	out, err := c.User.Exec(t.Context(), argv...)
	if err != nil {
		t.Fatal(err)
	}
	var list []fields
	for line := range strings.Lines(out) {
		values := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(values) != len(judged) {
			continue // a warning that it runs as root
		}
		f := fields{}
		for n, name := range judged {
			f[name] = values[n]
		}
		list = append(list, f)
	}
	return list
}
