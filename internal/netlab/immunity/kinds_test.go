package immunity

import (
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/vrrp"
)

// way is how the adverts of two instances of the pair go: one has no keys, the other has.
type way struct {
	name         string
	family       vrrp.Family
	unicast      bool
	vrid, signed uint8
	swift        bool // its interval is short
	virtual      bool // its instances have virtual MAC addresses
	old          bool // it is VRRPv2, and has a password in the keys' place
}

var ways = []way{
	{name: "IPv4 multicast", family: vrrp.IPv4, vrid: 71, signed: 81},
	{name: "IPv6 multicast", family: vrrp.IPv6, vrid: 72, signed: 82},
	{name: "IPv4 unicast", family: vrrp.IPv4, vrid: 73, signed: 83, unicast: true},
	{name: "IPv6 unicast", family: vrrp.IPv6, vrid: 74, signed: 84, unicast: true},
	{name: "IPv4 multicast, every 20 ms", family: vrrp.IPv4, vrid: 75, signed: 85, swift: true},
	{name: "VRRPv2", family: vrrp.IPv4, vrid: 77, signed: 87, old: true},
}

// virtualWays are by themselves: their devices make the interface promiscuous, and the kernel looks at each frame to a group for them.
var virtualWays = []way{
	{name: "IPv4 multicast, virtual MAC", family: vrrp.IPv4, vrid: 76, signed: 86, virtual: true},
}

// vrids are those of the way's instances.
func (w way) vrids() []uint8 { return []uint8{w.vrid, w.signed} }

// beat is the interval of the way's adverts, and dead after how many of them a backup rises. Where they are short a machine that stands
// still must not look like a master that is gone; that three of them would do is asserted of how late they are. VRRPv2 has whole seconds.
func (w way) beat() (time.Duration, int) {
	switch {
	case w.swift:
		return swiftInterval, 20
	case w.old:
		return time.Second, 2
	}
	return interval, 3
}

// down is Master_Down_Interval of lb2, with priority 100: so many intervals and a skew.
func (w way) down() time.Duration {
	interval, dead := w.beat()
	return time.Duration(dead)*interval + interval*156/256
}

// kind is one sort of packets that no peer sends.
type kind struct {
	name       string
	vrid       uint8  // of the virtual router that they are for
	at, reason string // the host that is asked, and what it counts them as
	// kernel says that the kernel drops nearly all of them: the daemon counts a few.
	kernel bool
	// frames makes them at the moment: a signature is of its time.
	frames func(t *testing.T) [][]byte
}

// scene is where packets go and whom they pretend to come from.
type scene struct {
	way
	stranger, lb1, lb2 end
}

// ends are the hosts of the pair.
func (s scene) ends() []end { return []end{s.lb1, s.lb2} }

// targets are where the adverts of this way go.
func (s scene) targets() []end {
	if s.unicast {
		return s.ends()
	}
	return []end{group(s.family)}
}

// others are where adverts of this way do not go.
func (s scene) others() []end {
	if s.unicast {
		return []end{group(s.family)}
	}
	return s.ends()
}

// maker makes a packet of somebody to somebody.
type maker func(source netip.Addr, to end) forged

// from makes the frames of what some senders would send to some targets.
func from(senders, targets []end, makers ...maker) func(*testing.T) [][]byte {
	return func(*testing.T) (frames [][]byte) {
		for _, to := range targets {
			for _, sender := range senders {
				for _, m := range makers {
					frames = append(frames, m(sender.ip, to).frame())
				}
			}
		}
		return frames
	}
}

// all makes the frames of what everybody would send this way. A unicast instance takes adverts of its peers only, so there a
// stranger is a kind of its own.
func (s scene) all(makers ...maker) func(*testing.T) [][]byte {
	senders := s.ends()
	if !s.unicast {
		senders = append(senders, s.stranger)
	}
	return from(senders, s.targets(), makers...)
}

// plain makes an advert that moves everything if it is a peer's.
func (s scene) plain(v vrrp.Version, priority uint8) maker {
	return func(source netip.Addr, to end) forged { return advert(v, s.vrid, priority, source, to, nil) }
}

// best is an advert that beats every other, release one by which a master gives up.
func (s scene) best() maker    { return s.plain(s.version(), 255) }
func (s scene) release() maker { return s.plain(s.version(), 0) }

// version is the way's.
func (w way) version() vrrp.Version {
	if w.old {
		return vrrp.V2
	}
	return vrrp.V3
}

// but changes what is made.
func (m maker) but(change func(forged) forged) maker {
	return func(source netip.Addr, to end) forged { return change(m(source, to)) }
}

// carp is what ucarp sends, but for its VHID.
func carp(vhid uint8) []byte {
	b, err := hex.DecodeString("2147c8070001c2fa83d93de5845697ba50e669d248f5a38440996c63a4554ef377868923")
	if err != nil {
		panic(err)
	}
	b[1] = vhid
	return b
}

// kinds are all that is sent this way. Where it differs from another in one thing only these are those that it may matter to.
func (s scene) kinds(backup *netlab.Host) []kind {
	if s.old {
		return s.oldKinds()
	}
	list := append(s.unsignedKinds(), s.signedKinds(backup)...)
	if s.swift || s.virtual {
		list = slices.DeleteFunc(list, func(k kind) bool { return !slices.Contains(telling, k.name) })
	}
	return list
}

// telling are the names of the kinds that are sent in every way: of each of the places where packets are dropped one or two.
var telling = []string{"bad checksums", "TTL 254", "reflected", "not signed", "the wrong key"}

// unsignedKinds are all that can be told from a peer's advert without authentication.
func (s scene) unsignedKinds() []kind {
	best, release := s.best(), s.release()
	cut := func(n int) maker { return best.but(func(p forged) forged { return p.cut(n) }) }
	summed := func(m maker) maker { return m.but(forged.summed) }
	first := func(b byte) maker { return summed(best.but(func(p forged) forged { return p.set(0, b) })) }
	counting := func(n byte) maker { return summed(best.but(func(p forged) forged { return p.set(3, n) })) }
	forwarded := func(p forged) forged { return p.hops(254) }
	ttl := "ttl"
	if s.unicast {
		ttl = "min-ttl"
	}
	list := []kind{
		{"bad checksums", s.vrid, "lb1", "checksum", false, s.all(best.but(forged.damaged), release.but(forged.damaged))},
		{"TTL 254", s.vrid, "lb1", ttl, true, s.all(best.but(forwarded), release.but(forwarded))},
		{"versions that do not exist", s.vrid, "lb1", "version", true, s.all(first(0x41), first(0x11))},
		{"no adverts", s.vrid, "lb1", "type", true, s.all(first(0x32))},
		{"truncated", s.vrid, "lb1", "short", true, s.all(cut(7), summed(cut(8)), summed(cut(10)))},
		{"addresses that are not there", s.vrid, "lb1", "short", true, s.all(counting(255), counting(2))},
		{"reflected", s.vrid, "lb1", "same-address", false, from([]end{s.lb1}, s.reflections(), s.plain(vrrp.V3, 150))},
		{"CARP", s.vrid, "lb1", "carp", true, s.all(best.but(func(p forged) forged { p.payload = carp(s.vrid); return p }))},
	}
	if s.family == vrrp.IPv4 {
		list = append(list, kind{"the other version", s.vrid, "lb1", "version-mismatch", true, s.all(s.plain(vrrp.V2, 255), s.plain(vrrp.V2, 0))})
	}
	if s.unicast {
		return append(list,
			kind{"a host that is no peer", s.vrid, "lb1", "not-a-peer", true, from([]end{s.stranger}, s.targets(), best, release, s.plain(vrrp.V3, 150), s.plain(vrrp.V3, 1))},
			kind{"to the group", s.vrid, "lb1", "multicast", true, from([]end{s.stranger, s.lb1, s.lb2}, s.others(), best, release)})
	}
	return append(list, kind{"to one host", s.vrid, "lb1", "unicast", true, from([]end{s.stranger, s.lb2}, s.others(), best, release)})
}

// oldKinds are what is told from a peer's advert of VRRPv2, with and without a password.
func (s scene) oldKinds() []kind {
	with := func(vrid uint8, auth *vrrp.Auth) maker {
		return func(source netip.Addr, to end) forged { return advert(vrrp.V2, vrid, 255, source, to, auth) }
	}
	const header = 2 // a type of authentication of RFC 2338
	return []kind{
		{"bad checksums", s.vrid, "lb1", "checksum", false, s.all(s.best().but(forged.damaged), s.release().but(forged.damaged))},
		{"the other version", s.vrid, "lb1", "version-mismatch", true, s.all(s.plain(vrrp.V3, 255), s.plain(vrrp.V3, 0))},
		{"a password that nobody asks for", s.vrid, "lb1", "auth-type", false, s.all(with(s.vrid, passworded(password)))},
		{"the wrong password", s.signed, "lb1", "password-wrong", false, s.all(with(s.signed, passworded("wrong")))},
		{"no password, or another type of authentication", s.signed, "lb1", "password-missing", false, s.all(
			with(s.signed, nil), with(s.signed, passworded(password)).but(func(p forged) forged { return p.set(4, header).summed() }))},
	}
}

// reflections are where a host's own adverts come back to it.
func (s scene) reflections() []end {
	if s.unicast {
		return []end{s.lb1}
	}
	// A loop brings the group's frame back; only the host that sent it takes it for its own.
	back := group(s.family)
	back.mac = s.lb1.mac
	return []end{back}
}

// key is the pair's, and password what its instances of VRRPv2 have.
const key, password = "a key that both hosts of the pair have", "right"

// passworded is somebody with a password.
func passworded(text string) *vrrp.Auth {
	secret, err := vrrp.NewPassword(text)
	if err != nil {
		panic(err)
	}
	return &vrrp.Auth{Password: secret}
}

// signer is somebody with a key.
func signer(id uint8, text string) *vrrp.Auth {
	return &vrrp.Auth{Active: id, Window: 5 * time.Second, Keys: []vrrp.Key{{ID: id, Secret: vrrp.NewSecret([]byte(text))}}}
}

// signedKinds are what is told from a peer's advert by its key. backup is lb2, where adverts of lb1 can be caught.
func (s scene) signedKinds(backup *netlab.Host) []kind {
	s.vrid = s.signed
	proved := func(id uint8, text string) func(*testing.T) [][]byte {
		makers := make([]maker, 2)
		for n, priority := range []uint8{255, 0} {
			makers[n] = func(source netip.Addr, to end) forged {
				return advert(vrrp.V3, s.vrid, priority, source, to, signer(id, text))
			}
		}
		return s.all(makers...)
	}
	list := []kind{
		{"not signed", s.vrid, "lb2", "auth-missing", true, s.all(s.best(), s.release())},
		{"the wrong key", s.vrid, "lb1", "auth-mac", false, proved(1, "a key that neither host of the pair has")},
		{"the wrong key, and as many addresses as there is room for", s.vrid, "lb1", "auth-mac", false, s.all(func(source netip.Addr, to end) forged {
			a := vrrp.Advert{Version: vrrp.V3, VRID: s.vrid, Priority: 255, Addresses: slices.Repeat([]netip.Addr{vip(s.family, s.vrid)}, longest(s.family))}
			return proclaim(a, source, to, signer(1, "a key that neither host of the pair has"))
		})},
		{"an unknown key", s.vrid, "lb1", "auth-key", false, proved(2, key)},
		{"replayed", s.vrid, "lb2", "auth-replay", false, func(t *testing.T) [][]byte {
			frame := slices.Clone(catch(t, backup, s.lb1.mac, s.family == vrrp.IPv6, s.vrid))
			copy(frame[6:], strangerMAC)
			return [][]byte{frame}
		}},
	}
	if !s.unicast { // from nobody's peers they are of a kind that the kernel drops
		list = append(list, kind{"the wrong key, of everybody", s.vrid, "lb1", "auth-mac", false, func(*testing.T) (frames [][]byte) {
			for range crowd {
				signed := advert(vrrp.V3, s.vrid, 255, anybody(s.family), group(s.family), signer(1, "a key that neither host of the pair has"))
				frames = append(frames, signed.frame())
			}
			return frames
		}})
	}
	return list
}

// crowd is how many senders take turns: more than a virtual router remembers, so that each is a new one.
const crowd = 256

// anybody is an address on the link, drawn anew each time.
func anybody(f vrrp.Family) netip.Addr {
	if f == vrrp.IPv6 {
		return netip.AddrFrom16([16]byte{0xfe, 0x80, 12: byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32())})
	}
	return netip.AddrFrom4([4]byte{10, 0, byte(100 + rand.Uint32N(100)), byte(rand.Uint32())})
}
