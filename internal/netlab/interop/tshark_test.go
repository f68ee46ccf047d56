package interop

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// spoken is one instance of both families, and one of each other form that an advert can have.
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

instance "password" {
  interface = "eth0"
  vrid      = 74
  version   = 2
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.104"]
  auth {
    password = "moving"
  }
}

instance "rfc" {
  interface = "eth0"
  vrid      = 75
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.105"]
  checksum  = "rfc9568"
}

instance "signed" {
  interface = "eth0"
  vrid      = 76
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["fd00::106"]
  auth {
    active = 1
    key "1" {
      file = "LAB/${hostname}/key"
    }
  }
}

instance "virtual" {
  interface = "eth0"
  vrid      = 77
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.107", "fd00::107"]
  mac       = "virtual"
}

instance "unicast" {
  interface = "eth0"
  vrid      = 78
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.108"]
  peers     = ["10.0.0.11", "10.0.0.12"]
}

instance "unicast6" {
  interface = "eth0"
  vrid      = 79
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["fd00::109"]
  peers     = ["fd00::11", "fd00::12"]
}

instance "oldvirtual" {
  interface = "eth0"
  vrid      = 80
  version   = 2
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.110"]
  mac       = "virtual"
}

check "script" "app" {
  command  = ["/usr/bin/test", "!", "-e", "LAB/${hostname}/sick"]
  interval = "1s"
  rise     = 1
  fall     = 1
}
`

// moved are the IPv4 addresses that are at one MAC address and then at another: those of all instances but the ones with a virtual MAC.
var moved = []string{"10.0.0.100", "10.0.0.102", "10.0.0.104", "10.0.0.105", "10.0.0.108"}

// kinds are the packets that a daemon sends, and how tshark's fields tell each.
var kinds = []struct {
	name string
	is   func(f fields) bool
}{
	{"VRRPv2", func(f fields) bool { return f["vrrp.version"] == "2" && f["vrrp.prio"] == "150" }},
	{"VRRPv2, given up", func(f fields) bool { return f["vrrp.version"] == "2" && f["vrrp.prio"] == "0" }},
	{"VRRPv2 with a password", func(f fields) bool { return f.router("74") && f["vrrp.auth_string"] == "moving" }},
	{"the RFC's checksum", func(f fields) bool { return f.router("75") && f.v3("4") }},
	{"the RFC's checksum, given up", func(f fields) bool { return f.router("75") && f["vrrp.prio"] == "0" }},
	{"signed, over IPv6", func(f fields) bool { return f.router("76") && f.v3("6") }},
	{"from the virtual MAC, over IPv4", func(f fields) bool { return f.router("77") && f.v3("4") && f["eth.src"] == virtualMACs[0] }},
	{"from the virtual MAC, over IPv6", func(f fields) bool { return f.router("77") && f.v3("6") && f["eth.src"] == virtualMACs[1] }},
	{"from the virtual MAC, VRRPv2", func(f fields) bool {
		return f.router("80") && f["vrrp.version"] == "2" && f["eth.src"] == virtualMACs[2]
	}},
	{"from the virtual MAC, VRRPv2, given up", func(f fields) bool { return f.router("80") && f["vrrp.prio"] == "0" && f["eth.src"] == virtualMACs[2] }},
	{"to a peer, over IPv4", func(f fields) bool { return f.router("78") && f["ip.dst"] == "10.0.0.12" }},
	{"to a peer, over IPv6", func(f fields) bool { return f.router("79") && f["ipv6.dst"] == "fd00::12" }},
	{"ARP, an announcement of the virtual MAC", func(f fields) bool {
		return f["arp.opcode"] != "" && f["eth.src"] == virtualMACs[0] && f["arp.src.proto_ipv4"] == "10.0.0.107"
	}},
	{"ND, an advertisement of the virtual MAC", func(f fields) bool {
		return f["icmpv6.type"] == "136" && f["eth.src"] == virtualMACs[1] && f["icmpv6.nd.na.target_address"] == "fd00::107"
	}},
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
	"eth.src", "vrrp.virt_rtr_id", "vrrp.auth_string", "ip.dst", "ipv6.dst", "icmpv6.type", "icmpv6.nd.na.target_address", "icmpv6.nd.ns.target_address", "ip.ttl", "ipv6.hlim",
	"vrrp.checksum.status", "icmpv6.checksum.status", "ip.checksum.status", "_ws.malformed", "_ws.expert.message",
}

// fields are what tshark says of one packet.
type fields map[string]string

func (f fields) v3(family string) bool {
	return f["vrrp.version"] == "3" && (f["ip.version"] == family || f["ipv6.version"] == family)
}

func (f fields) router(vrid string) bool { return f["vrrp.virt_rtr_id"] == vrid }

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
	if expert := unexpected(f["_ws.expert.message"]); expert != "" {
		errs = append(errs, fmt.Errorf("expert: %s", expert))
	}
	for _, name := range []string{"ip.ttl", "ipv6.hlim"} {
		if got := f[name]; got != "" && got != "255" {
			errs = append(errs, fmt.Errorf("%s is %s", name, got))
		}
	}
	return errors.Join(errs...)
}

// duplicate is what tshark says of an address that it has seen at another MAC address.
var duplicate = regexp.MustCompile(`Duplicate IP address configured \(([^)]*)\),?`)

// unexpected is what tshark's experts say beyond this: an address that moves is announced from one MAC and then from another. That is
// what a move is for, and no other address may be.
func unexpected(expert string) string {
	return duplicate.ReplaceAllStringFunc(expert, func(said string) string {
		if slices.Contains(moved, duplicate.FindStringSubmatch(said)[1]) {
			return ""
		}
		return said
	})
}

// TestUnexpected holds that only an address that moves may be at two MAC addresses.
func TestUnexpected(t *testing.T) {
	const moves, stays = "Duplicate IP address configured (10.0.0.100)", "Duplicate IP address configured (10.0.0.11)"
	for said, want := range map[string]string{
		"": "", moves: "", moves + "," + moves: "", stays: stays, moves + "," + stays: stays, "Bad checksum": "Bad checksum", moves + ",Bad checksum": "Bad checksum",
	} {
		if got := unexpected(said); got != want {
			t.Errorf("of %q: got %q, want %q", said, got, want)
		}
	}
}

// TestTsharkAgrees lets another implementation judge every kind of packet that a daemon really sends: well formed, checksums good,
// nothing that its experts would warn of.
func TestTsharkAgrees(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "tshark", "tcpdump")
	c := pairtest.New(t, pairtest.Shape{
		Program: program, Hosts: []string{"lb1", "lb2"}, Config: spoken, VIPs: map[string]time.Duration{"10.0.0.100": 0, "fd00::100": 0, "10.0.0.102": 0},
	})
	for _, h := range c.Hosts {
		if err := os.WriteFile(filepath.Join(h.Dir(), "key"), []byte("a key that is as long as it must be\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(c.Lab.Dir(), "sent.pcap")
	// lb2 sees its own packets, and lb1's to the group and to itself.
	dump, err := c.Get("lb2").Host.Start("tcpdump", "-U", "--immediate-mode", "-Z", "root", "-i", netlab.Interface, "-w", file, "arp or proto 112 or ip6")
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
	// tshark knows one form of VRRPv3's checksum over IPv4 at a time.
	const other = "vrrp.virt_rtr_id == 75"
	packets := slices.Concat(dissect(t, c, file, "FALSE", "!("+other+")"), dissect(t, c, file, "TRUE", other))
	for _, f := range packets {
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

// virtualMACs are those of the instances that have them: of both families, and of VRRPv2 (RFC 9568 section 7.3).
var virtualMACs = [3]string{"00:00:5e:00:01:4d", "00:00:5e:00:02:4d", "00:00:5e:00:01:50"}

// dissect has tshark read what the two hosts sent of these protocols: those packets that a filter takes, with VRRPv3's checksum as in
// VRRPv2 or not.
func dissect(t *testing.T, c *pairtest.Cluster, file, asInV2, filter string) []fields {
	t.Helper()
	// A kernel whose daemon has ended refuses a unicast advert over IPv6, and encloses it.
	argv := []string{
		"tshark", "-r", file, "-o", "vrrp.v3_checksum_as_in_v2:" + asInV2, "-o", "ip.check_checksum:TRUE",
		"-Y", fmt.Sprintf("eth.src in {%v, %v, %s} && (vrrp && !icmpv6 || arp || icmpv6.type in {135, 136}) && %s", c.Get("lb1").MAC(), c.Get("lb2").MAC(),
			strings.Join(virtualMACs[:], ", "), filter),
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
