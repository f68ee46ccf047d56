package config

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// rawInstance mirrors an instance block.
type rawInstance struct {
	Interface         string        `hcl:"interface" doc:"The network interface of the addresses and the adverts."`
	VRID              int           `hcl:"vrid" doc:"The virtual router's number, 1..255, the same on all hosts."`
	Priority          int           `hcl:"priority" doc:"The base priority, 2..255; the highest healthy host has the addresses."`
	Addresses         []string      `hcl:"addresses" doc:"The virtual addresses, such as [\"192.0.2.10\", \"2001:db8::10\"]." more:"In the output of ip address each is a /32 (scope host, dynamic, noprefixroute, the lease as valid_lft) or a /128 (deprecated), so that the host's own connections never come from it. One that is written with a prefix, such as 192.0.2.10/24, is so too, and brings a route to that network on the interface (proto 112) where the host has none. With more than 90 IPv6 addresses (89 with auth) an advert is longer than an MTU of 1500 and leaves in fragments, which a firewall must let through; those of unadvertised are in no advert."`
	Version           int           `hcl:"version,optional" default:"3" doc:"The VRRP version: 3, or 2 for peers that speak only that."`
	AdvertiseInterval time.Duration `hcl:"advertise_interval,optional" default:"1s" doc:"The time between two adverts."`
	DeadAdverts       int           `hcl:"dead_adverts,optional" default:"3" doc:"So many intervals of silence, and the skew time, and a backup takes over."`
	Preempt           bool          `hcl:"preempt,optional" default:"true" doc:"Whether a better host takes the addresses back."`
	PreemptDelay      time.Duration `hcl:"preempt_delay,optional" default:"0s" doc:"How long it waits with that, from when it may take part."`
	LinkDelay         time.Duration `hcl:"link_delay,optional" default:"0s" doc:"How long the instance waits after link-up and start."`
	MAC               string        `hcl:"mac,optional" default:"interface" doc:"The addresses' MAC: the interface's own, or \"virtual\"."`
	Strict            bool          `hcl:"strict,optional" doc:"Whether adverts are refused that the RFC says to refuse and peers send all the same."`
	Checksum          string        `hcl:"checksum,optional" default:"auto" doc:"The checksum that is sent with VRRPv3 over IPv4."`
	Lease             bool          `hcl:"lease,optional" default:"true" doc:"Whether the kernel drops the addresses of a daemon that no longer renews them."`
	Unadvertised      []string      `hcl:"unadvertised,optional" doc:"Addresses that go with the instance but are not in its adverts."`
	Checks            []string      `hcl:"checks,optional" doc:"The checks that apply. Left out: all."`
	Peers             []string      `hcl:"peers,optional" doc:"The hosts' addresses or names, for unicast; this host's own is skipped."`
	Source            oneOrMore     `hcl:"source,optional" doc:"The source address of the adverts, or one of each family in a list."`
	MinTTL            int           `hcl:"min_ttl,optional" default:"255" doc:"The least TTL or hop limit of a peer's adverts, where routers lie between the hosts."`
}

var instanceBlocks = []hcl.BlockHeaderSchema{
	{Type: "expect", LabelNames: []string{"node"}},
	{Type: "auth"},
	{Type: "announce"},
}

// instance is what validation knows of an instance beside its configuration.
type instance struct {
	node.Instance
	block   block
	expects []expect
	// checkNames are those that were written.
	checkNames []string
	// byDefault says that no checks were written, so that all apply.
	byDefault bool
	// sound says that nothing is wrong in the block, so that conclusions may be drawn from it.
	sound bool
}

// expect is what an instance's block says about another host.
type expect struct {
	node string
	at   hcl.Range
	// priority is 0 where the block leaves it to this very file.
	priority int
}

// namePattern is what instances, groups, checks, hooks and nodes may be called: the names appear in metrics, environment
// variables and command lines.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// ValidName says whether something, or a node, may be called so.
func ValidName(name string) bool { return len(name) <= maxNameLength && namePattern.MatchString(name) }

// named checks the name of a block.
func (l *loader) named(what, name string, at hcl.Range) {
	if !ValidName(name) {
		l.found.errorf(at, fmt.Sprintf("allowed: letters, digits, _ . and -, at most %d of them", maxNameLength), "%s name is %q", what, cut(name))
	}
}

// instance turns a block into an instance. Checks are bound later, when all are known.
func (l *loader) instance(b *hcl.Block) instance {
	before := len(l.found)
	name := b.Labels[0]
	title := fmt.Sprintf("instance %q", name)
	l.named("instance", name, labelOf(b))
	raw := new(rawInstance)
	checks.SetDefaults(raw)
	in := instance{block: l.decode(b, title, instanceBlocks, raw)}
	in.Instance = node.Instance{
		Name: name, Interface: raw.Interface, DeadAdverts: raw.DeadAdverts, Preempt: raw.Preempt,
		PreemptDelay: raw.PreemptDelay, LinkDelay: raw.LinkDelay, Strict: raw.Strict, Lease: raw.Lease, VirtualMAC: raw.MAC == "virtual",
		Interval: raw.AdvertiseInterval, VRID: uint8(raw.VRID), Priority: uint8(raw.Priority), Version: vrrp.Version(raw.Version),
		Checks: map[string]node.Effect{}, MinTTL: uint8(raw.MinTTL),
	}
	in.byDefault, in.checkNames = !in.block.has("checks"), raw.Checks
	l.judgeIdentity(in.block, raw)
	l.judgeTimes(in.block, raw)
	in.Addresses = l.addresses(in.block, "addresses", raw.Addresses)
	in.Unadvertised = l.addresses(in.block, "unadvertised", raw.Unadvertised)
	if in.block.usable("addresses") && len(raw.Addresses) == 0 {
		l.found.errorf(in.block.place("addresses"), "allowed: at least one address", "addresses is empty")
	}
	l.judgeVersion(&in, raw)
	l.judgeStrict(&in)
	l.announce(&in, title)
	l.unicast(&in, raw)
	l.auth(&in, raw, title)
	l.judgeVirtualMAC(&in)
	l.expectations(&in, title)
	in.sound = !findings(l.found[before:]).broken() && in.block.sound()
	return in
}

// judgeStrict refuses an instance whose adverts another strict one refuses: RFC 9568 section 5.2.9 wants a link-local address first.
func (l *loader) judgeStrict(in *instance) {
	if !in.Strict || !in.block.usable("addresses") {
		return
	}
	for _, a := range in.Addresses {
		if !a.IP.Is6() {
			continue
		}
		if !a.IP.IsLinkLocalUnicast() {
			l.found.errorf(in.block.place("addresses"), "write a link-local one, such as fe80::1, before the other IPv6 addresses on all hosts, or leave strict out",
				"the first IPv6 address is %s, and with strict every other host would refuse these adverts", a.IP)
		}
		return
	}
}

// judgeIdentity checks what makes the instance one and the same on all hosts.
func (l *loader) judgeIdentity(b block, raw *rawInstance) {
	if b.usable("interface") {
		if why := badInterface(raw.Interface); why != "" {
			l.found.errorf(b.place("interface"), why, "interface is %q", cut(raw.Interface))
		}
	}
	l.within(b, "vrid", raw.VRID, 1, maxVRID, "")
	why := ""
	switch raw.Priority {
	case 0:
		why = "; 0 on the wire means that the master gives up"
	case 1:
		why = "; 1 on the wire means that the host is unhealthy or drained"
	}
	l.within(b, "priority", raw.Priority, minPriority, maxPriority, why)
	if b.usable("mac") {
		l.oneOf(b, "mac", raw.MAC, []string{"interface", "virtual"})
	}
	if b.usable("checksum") {
		l.oneOf(b, "checksum", raw.Checksum, []string{"auto", "pseudo-header", "rfc9568"})
	}
}

func badInterface(name string) string {
	switch {
	case name == "" || len(name) > maxInterface:
		return fmt.Sprintf("allowed: 1 to %d bytes", maxInterface)
	case name == "." || name == "..", strings.ContainsFunc(name, func(r rune) bool {
		return r == '/' || r == ':' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}):
		return "allowed: a name without slash, colon and space"
	}
	return ""
}

func (l *loader) judgeTimes(b block, raw *rawInstance) {
	l.within(b, "dead_adverts", raw.DeadAdverts, minDeadAdverts, maxDeadAdverts, "")
	l.between(b, "preempt_delay", raw.PreemptDelay, 0, maxDelay)
	l.between(b, "link_delay", raw.LinkDelay, 0, maxDelay)
	if b.has("preempt_delay") && raw.PreemptDelay > 0 && b.usable("preempt") && !raw.Preempt {
		l.found.warnf(b.place("preempt_delay"), "", "preempt_delay does nothing where preempt is false")
	}
}

// within checks a number that was written.
func (l *loader) within(b block, name string, value, least, most int, why string) {
	if b.usable(name) && (value < least || value > most) {
		l.found.errorf(b.place(name), fmt.Sprintf("allowed: %d..%d%s", least, most, why), "%s is %d", name, value)
	}
}

// between checks a duration that was written.
func (l *loader) between(b block, name string, value, least, most time.Duration) {
	if b.usable(name) && (value < least || value > most) {
		l.found.errorf(b.place(name), fmt.Sprintf("allowed: %s..%s", brief(least), brief(most)), "%s is %s", name, brief(value))
	}
}

// brief writes a duration without zero parts: 24h, not 24h0m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
