package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

const centisecond = 10 * time.Millisecond

// Refusal is why an advert is not accepted. Each has a short reason, which counters and the drop log are keyed by.
type Refusal struct{ reason, text string }

// Error says what is wrong with the packet and, where something can be done about it, what.
func (r *Refusal) Error() string { return r.text }

// Reason is the refusal's short name, such as "checksum".
func (r *Refusal) Reason() string { return r.reason }

// Because is the refusal with a text that knows the packet.
func (r *Refusal) Because(format string, args ...any) error { return &explained{r, format, args} }

// explained is a refusal of one packet. The text is made when somebody reads it: of a flood nobody does.
type explained struct {
	refusal *Refusal
	format  string
	args    []any
}

// Error says what is wrong with this packet.
func (e *explained) Error() string { return fmt.Sprintf(e.format, e.args...) }

// Unwrap returns the refusal.
func (e *explained) Unwrap() error { return e.refusal }

// The refusals, in the order in which they are looked for. The first group needs no configuration, the second does.
var (
	ErrShort = &Refusal{"short", "shorter than its header or address count says: damaged, or made to deceive"}
	ErrCARP  = &Refusal{"carp", "CARP, not VRRP: another cluster uses this number there (ucarp's --vhid, OpenBSD's and FreeBSD's vhid). " +
		`It does no harm, unless both use the virtual MAC address of that number: then give this instance another vrid or mac = "interface"`}
	ErrVersion     = &Refusal{"version", "a VRRP version that does not exist over this address family"}
	ErrType        = &Refusal{"type", "not an advertisement"}
	ErrVRID        = &Refusal{"vrid", "VRID 0 does not exist"}
	ErrHopLimit    = &Refusal{"ttl", "TTL or hop limit is not 255: it was forwarded by a router, or forged; VRRP works on one link only"}
	ErrChecksum    = &Refusal{"checksum", "bad checksum: damaged on the way, or forged"}
	ErrNoAddresses = &Refusal{"no-addresses", "carries no addresses, and VRRPv3 demands at least one; give the peer one that it advertises"}
	ErrExcess      = &Refusal{"excess", "longer than its address count says"}
	ErrAuthType    = &Refusal{"auth-type", `carries VRRPv2 authentication, and this instance has none: write version = 2 and auth { password = "..." } with keepalived's auth_pass here, or remove its authentication block there`}
	ErrInterval    = &Refusal{"interval-zero", "its advertisement interval is 0"}
	ErrFragment    = &Refusal{"fragment", "comes in fragments, which a shadow does not put together as the daemon does: advertise fewer addresses to have it judged"}

	ErrUnknownVRID      = &Refusal{"unknown-vrid", "no instance on this interface has its VRID"}
	ErrTrailer          = &Refusal{"auth-unexpected", "carries an authentication trailer, and this instance has no auth block with keys; write the same auth block on all hosts"}
	ErrOwnAdvert        = &Refusal{"own", "this host's own advert came back: a loop in the network, or a switch or host that reflects multicast"}
	ErrSameAddress      = &Refusal{"same-address", "another host uses this host's own address; give each host an address of its own"}
	ErrUnicast          = &Refusal{"unicast", "sent to this host alone, and this instance has no peers; write peers here too, or remove them there (keepalived: unicast_peer)"}
	ErrMulticast        = &Refusal{"multicast", "sent to the multicast group, and this instance has peers; write the same peers there (keepalived: unicast_peer), or remove them here"}
	ErrNotPeer          = &Refusal{"not-a-peer", "its sender is none of this instance's peers; if it should be one, write the address that it sends from into peers"}
	ErrMinTTL           = &Refusal{"min-ttl", "its TTL or hop limit is below this instance's min_ttl (255 by default); raise it there (keepalived: unicast_ttl), or write min_ttl here if routers lie between the hosts"}
	ErrVersionMismatch  = &Refusal{"version-mismatch", "its VRRP version is not this instance's; write the same version on all hosts"}
	ErrAuthMissing      = &Refusal{"auth-missing", `carries no signature: give its host the same auth block, or set mode = "permissive" here until every host signs`}
	ErrAuthMalformed    = &Refusal{"auth-malformed", "its authentication trailer is of an unknown kind; keepalived's is understood from 2.4.2 on"}
	ErrAuthStale        = &Refusal{"auth-stale", "its signature is of another time"}
	ErrAuthKey          = &Refusal{"auth-key", "its key is not known here"}
	ErrAuthMAC          = &Refusal{"auth-mac", "its signature is wrong"}
	ErrAuthReplay       = &Refusal{"auth-replay", "it is not newer than one that was heard from this sender already: it is replayed, or the network doubled it, or the sender was started again with its clock set back; set its clock by NTP"}
	ErrPasswordMissing  = &Refusal{"password-missing", "carries no VRRPv2 password, and this instance has one; write the same auth block on all hosts"}
	ErrPasswordWrong    = &Refusal{"password-wrong", "its VRRPv2 password is not this instance's; write the same auth block on all hosts"}
	ErrIntervalMismatch = &Refusal{"interval-mismatch", "its VRRPv2 interval is not this instance's; VRRPv2 demands the same on all hosts"}
	ErrStrictOwner      = &Refusal{"strict-owner", "this host is the address owner (priority 255) and strict is on"}
	ErrStrictAddresses  = &Refusal{"strict-addresses", "its address list is not this instance's and strict is on"}
	ErrStrictLinkLocal  = &Refusal{"strict-link-local", "its first address is not link-local and strict is on"}
)

// Notice is something wrong with an advert that is accepted all the same, counted and shown: rows 7, 11 and 12 of the
// receive rules, and an interval that differs in VRRPv3.
type Notice string

// The notices.
const (
	NoticeOwner     Notice = "duplicate-owner"       // we are the owner (255) and another router says that it is; RFC 9568 section 8.3.2
	NoticeAddresses Notice = "address-list-mismatch" // RFC 9568 section 7.1: MAY be checked
	NoticeLinkLocal Notice = "first-not-link-local"  // RFC 9568 erratum 8300
	NoticeInterval  Notice = "interval-mismatch"     // RFC 9568 section 7.1: SHOULD be logged
	NoticeSameOwn   Notice = "same-priority-as-ours" // equal priorities: only the addresses decide
	// NoticeStranger stands for a list of other addresses that has nothing in common with ours, or that comes with another
	// interval too: it may be another cluster's.
	NoticeStranger Notice = "stranger"
	// NoticeChecksum is the node's: the sender uses only the checksum form that this host does not send.
	NoticeChecksum Notice = "checksum-form"
)

// IsOffer says whether an advert is that of a handover: its interval is one centisecond on purpose, so that the backups learn
// a skew of milliseconds.
func IsOffer(a Advert) bool { return a.Interval == handoverInterval }

// ReasonOf returns the short reason of a refusal, and "unknown" for any other error.
func ReasonOf(err error) string {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.reason
	}
	return "unknown"
}

// Refuse applies the receive rules that need the virtual router's configuration (RFC 9568 section 7.1, RFC 3768 section
// 7.1). own is this router's address. verify proves the sender, where there is authentication, before anything that it says
// is looked at (Authenticator.Verify). nil means that the advert is accepted.
func (c *Config) Refuse(r Received, own netip.Addr, priority uint8, verify func(Received) error) error {
	if err := c.refuseOrigin(r, own); err != nil {
		return err
	}
	a := r.Advert
	if a.Version != c.Version {
		return ErrVersionMismatch
	}
	if err := c.refuseUnproven(r, verify); err != nil {
		return err
	}
	switch {
	case c.Version == V2 && a.Interval != c.Interval:
		return ErrIntervalMismatch
	case !c.Strict:
		return nil
	case priority == PriorityOwner:
		return ErrStrictOwner
	case c.Version == V2 && a.Priority != PriorityOwner && !c.sameAddresses(a):
		return ErrStrictAddresses
	case c.Family == IPv6 && !a.Addresses[0].IsLinkLocalUnicast():
		return ErrStrictLinkLocal
	}
	return nil
}

// refuseOrigin looks at where an advert comes from, how, and over how many routers.
func (c *Config) refuseOrigin(r Received, own netip.Addr) error {
	u := c.Unicast
	switch {
	case u == nil && r.HopLimit != HopLimit:
		return ErrHopLimit
	case plain(r.From) == plain(own):
		return ErrOwnAdvert
	case u == nil && plain(r.To) != c.Family.Group():
		return ErrUnicast
	case u == nil:
		return nil
	case toMany(r.To):
		return ErrMulticast
	case !slices.Contains(u.Peers, plain(r.From)):
		return ErrNotPeer
	case r.HopLimit < int(u.MinTTL):
		return ErrMinTTL
	}
	return nil
}

// toMany says whether an address is no host's own: a group's, or a broadcast. The kernel's filter drops what is sent there to a
// unicast router, so whoever looks at that must refuse it too.
func toMany(ip netip.Addr) bool {
	ip = plain(ip)
	return ip.IsMulticast() || ip.Is4() && ip.As4()[0] >= 0xe0
}

// refuseUnproven asks for the proof that is configured, and refuses one that is not.
func (c *Config) refuseUnproven(r Received, verify func(Received) error) error {
	switch {
	case c.Auth != nil:
		return verify(r)
	case r.Sealed != nil:
		return ErrTrailer
	case r.AuthType != 0:
		return ErrAuthType
	}
	return nil
}

// Notices lists what is odd about an advert that was accepted.
func (c *Config) Notices(a Advert, priority uint8) []Notice {
	var ns []Notice
	owners := a.Priority == priority && priority == PriorityOwner
	if owners {
		ns = append(ns, NoticeOwner)
	}
	switch {
	case c.Stranger(a):
		ns = append(ns, NoticeStranger)
	case !c.sameAddresses(a):
		ns = append(ns, NoticeAddresses)
	}
	if c.Family == IPv6 && !a.Addresses[0].IsLinkLocalUnicast() {
		ns = append(ns, NoticeLinkLocal)
	}
	if c.otherInterval(a) {
		ns = append(ns, NoticeInterval)
	}
	if a.Priority == priority && !owners && priority != PriorityIll && priority != PriorityRelease { // who takes no part yet has 0
		ns = append(ns, NoticeSameOwn)
	}
	return ns
}

// Stranger says whether an advert of our VRID looks like another cluster's: no address in common, or neither the list nor
// the interval.
func (c *Config) Stranger(a Advert) bool {
	common := func(ip netip.Addr) bool { return slices.Contains(c.Addresses, ip) }
	return !c.sameAddresses(a) && (c.otherInterval(a) || len(a.Addresses) > 0 && !slices.ContainsFunc(a.Addresses, common))
}

// otherInterval says whether an advert's interval is not ours. A handover's carries one centisecond on purpose.
func (c *Config) otherInterval(a Advert) bool {
	return a.Interval != c.Interval && a.Interval != handoverInterval && a.Priority != PriorityRelease
}

// sameAddresses compares the lists as sets: the order on the wire has no meaning.
func (c *Config) sameAddresses(a Advert) bool {
	if len(a.Addresses) != len(c.Addresses) {
		return false
	}
	if slices.Equal(a.Addresses, c.Addresses) { // as they nearly always are
		return true
	}
	mine, theirs := slices.Clone(c.Addresses), slices.Clone(a.Addresses)
	slices.SortFunc(mine, netip.Addr.Compare)
	slices.SortFunc(theirs, netip.Addr.Compare)
	return slices.Equal(mine, theirs)
}
