package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/vrrp"
)

// later judges what this version refuses in an instance block.
func (l *loader) later(in *instance, raw *rawInstance, title string) {
	b := in.block
	if b.usable("mac") && raw.MAC == "virtual" {
		l.refuseLater("mac", b.place("mac"))
	}
	if b.has("peers") {
		l.judgePeers(in, raw.Peers)
		l.refuseLater("peers", b.place("peers"))
	}
	if b.has("source") {
		l.judgeSource(in, raw.Source)
		l.refuseLater("source", b.place("source"))
	}
	if block := l.single(b.nested, "auth"); block != nil {
		l.judgeAuth(block, title)
		l.refuseLater("auth", headerOf(block))
	}
}

// judgePeers wants unicast addresses of the instance's families.
func (l *loader) judgePeers(in *instance, texts []string) {
	b := in.block
	if !b.usable("peers") {
		return
	}
	var seen []netip.Addr
	for i, text := range texts {
		at := b.element("peers", i)
		ip, why := parseHost(text)
		switch {
		case why != "":
			l.found.errorf(at, why, "peers holds %q", cut(text))
			continue
		case slices.Contains(seen, ip):
			l.found.errorf(at, "remove one of the two", "peers holds %s twice", ip)
		case b.usable("addresses") && !slices.Contains(in.Families(), vrrp.FamilyOf(ip)):
			l.found.errorf(at, "its addresses are of the other family", "peers holds %s, but instance %q has no %s", ip, in.Name, vrrp.FamilyOf(ip))
		}
		seen = append(seen, ip)
	}
}

func (l *loader) judgeSource(in *instance, text string) {
	b := in.block
	if !b.usable("source") {
		return
	}
	ip, why := parseHost(text)
	switch {
	case why != "":
		l.found.errorf(b.place("source"), why, "source is %q", cut(text))
	case len(in.Addresses) > 0 && !slices.Contains(in.Families(), vrrp.FamilyOf(ip)):
		l.found.errorf(b.place("source"), "its addresses are of the other family", "source is %s, but instance %q has no %s", ip, in.Name, vrrp.FamilyOf(ip))
	}
}

// parseHost parses the address of a host, without a prefix.
func parseHost(text string) (netip.Addr, string) {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ip, "allowed: an IPv4 or IPv6 address, such as 10.0.0.11"
	}
	return ip, notUnicast(ip)
}

// rawAuth and rawKey mirror an auth block.
type (
	rawAuth struct {
		Active int    `hcl:"active" doc:"The number of the key that signs."`
		Mode   string `hcl:"mode,optional" default:"enforce" doc:"\"enforce\", or \"permissive\" and \"receive-only\" for rolling it out."`
	}
	rawKey struct {
		File string `hcl:"file" doc:"The file that holds the key."`
	}
)

func (l *loader) judgeAuth(b *hcl.Block, title string) {
	var raw rawAuth
	checks.SetDefaults(&raw)
	d := l.decode(b, "auth of "+title, []hcl.BlockHeaderSchema{{Type: "key", LabelNames: []string{"number"}}}, &raw)
	if d.usable("mode") {
		l.oneOf(d, "mode", raw.Mode, []string{"enforce", "permissive", "receive-only"})
	}
	l.within(d, "active", raw.Active, 1, maxKeyID, "")
	taken := map[string]hcl.Range{}
	for _, kb := range d.nestedOf("key") {
		l.key(kb, title)
		l.unique(taken, "key", kb.Labels[0], headerOf(kb))
	}
	if _, ok := taken[strconv.Itoa(raw.Active)]; d.usable("active") && !ok && raw.Active >= 1 && raw.Active <= maxKeyID {
		l.found.errorf(d.place("active"), fmt.Sprintf("write key \"%d\" { file = ... }", raw.Active), "active is %d, and no key has that number", raw.Active)
	}
}

func (l *loader) key(b *hcl.Block, title string) {
	number := b.Labels[0]
	if n, err := strconv.Atoi(number); err != nil || n < 1 || n > maxKeyID || number != strconv.Itoa(n) {
		l.found.errorf(b.LabelRanges[0], fmt.Sprintf("allowed: 1..%d", maxKeyID), "key is %q", cut(number))
	}
	var raw rawKey
	d := l.decode(b, fmt.Sprintf("key %q of %s", number, title), nil, &raw)
	if d.usable("file") && l.here {
		l.readable(d.place("file"), raw.File)
	}
}
