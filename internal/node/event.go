package node

import (
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// Event is something that happened to the host.
type Event interface{ event() }

// The events.
type (
	// Heard is an advert that vrrp.Parse accepted.
	Heard struct {
		Interface string
		vrrp.Received
	}
	// OwnAdvert is an advert that another VRRP daemon of this very host sent; only a shadow is told.
	OwnAdvert struct {
		Interface string
		MAC       string // the frame's sender
		vrrp.Received
	}
	// Refused are packets that vrrp.Parse refused, or that the VRRP socket's filter dropped, with what could be read of them.
	Refused struct {
		Interface string
		VRID      uint8
		From      netip.Addr
		MAC       string // empty if it was not seen
		Err       error
		Count     uint64 // how many, all alike; 0 is one
	}
	// Seen says from which MAC address a host sends its VRRP packets. With a VRID it is of one advert for it, and comes for each that
	// was seen: a host has a MAC address of its own for each virtual router, and another one after a reload.
	Seen struct {
		Interface string
		From      netip.Addr
		MAC       string
		VRID      uint8
		Trailer   string // the advert's signature, which nobody has verified; see vrrp.Received
	}
	// Overlooked says how many VRRP packets nobody looked at, since there were too many.
	Overlooked struct {
		Interface string
		Packets   uint64
	}
	// SendFailed says that an advert did not leave the host.
	SendFailed struct {
		Instance string
		Family   vrrp.Family
		To       netip.Addr // the group, or a peer
		Err      error
	}
	// CheckChanged is a check's verdict, or a new reason for the same one.
	CheckChanged struct {
		Check   string
		Healthy bool
		Reason  string
	}
	// Rechecked is the answer to a Recheck: a run of the check began then and has ended, and its verdict, which was told before,
	// is not about to change.
	Rechecked struct {
		Check string
		Began time.Time
	}
	// LinkChanged is what is known of an interface.
	LinkChanged struct{ Link Link }
	// AddressLost says that an address is no longer on an interface although this daemon did not remove it.
	AddressLost struct {
		Interface string
		IP        netip.Addr
		Expired   bool // its lease ran out
	}
	// AddressesSet says that the addresses of a SetAddresses are all there.
	AddressesSet struct {
		Instance string
		Request  uint64 // the one of SetAddresses
	}
	// AddressFailed says that one could not be set.
	AddressFailed struct {
		Instance string
		IP       netip.Addr
		Err      error
	}
	// Barred says what else on this host stands in the way of an instance, as long as that holds no addresses: another daemon runs its
	// virtual router, or has set its addresses. To advertise them would be to speak for that daemon. An empty reason: nothing any more.
	// It may come before the configuration that has the instance.
	Barred struct{ Instance, Why string }
	// Announced says that another host announced one of our addresses or answered for it, by ARP or ND.
	Announced struct {
		Interface string
		IP        netip.Addr
		MAC       string
	}
	// Resolved says which addresses the name of a peer has, and why that may not be all. In a family of which it names none, those that
	// were known stay.
	Resolved struct {
		Name      string
		Addresses []netip.Addr
		Err       error
	}
	// Adopt says that a dead daemon of this host left an instance's addresses, and that nobody else claimed them. Left are those
	// that are still there: a node that only cleans up keeps no others. One that goes on sets them all.
	Adopt struct {
		Instance string
		Left     []netip.Addr
	}
	// Drain is an administrator's word; each Who lifts only its own.
	Drain struct {
		Who string
		On  bool
	}
	// Remembered is the Memory of the process before this one. Of senders that it does not know, nothing is believed that was
	// sent before this process began; see vrrp.NewAuthenticator.
	Remembered struct{ Routers []RouterMemory }
	// Stop begins the daemon's end: every instance hands over.
	Stop struct{}
	// Reconfigured replaces the configuration.
	Reconfigured struct{ Config Config }
	// Woke says that the host slept, and for how long, without the monotonic clock having counted it. The VRRP sockets
	// are to be read dry before the Elapsed that is then due.
	Woke struct{ Gap time.Duration }
	// Elapsed says that Deadline may have come.
	Elapsed struct{}
)

func (Heard) event()         {}
func (OwnAdvert) event()     {}
func (Refused) event()       {}
func (Seen) event()          {}
func (Overlooked) event()    {}
func (SendFailed) event()    {}
func (CheckChanged) event()  {}
func (Rechecked) event()     {}
func (LinkChanged) event()   {}
func (AddressLost) event()   {}
func (AddressesSet) event()  {}
func (AddressFailed) event() {}
func (Barred) event()        {}
func (Announced) event()     {}
func (Resolved) event()      {}
func (Adopt) event()         {}
func (Drain) event()         {}
func (Remembered) event()    {}
func (Stop) event()          {}
func (Reconfigured) event()  {}
func (Woke) event()          {}
func (Elapsed) event()       {}

// Link is what is known of an interface.
type Link struct {
	Name string
	// Up says that it exists, is up and has carrier; Reason says why not.
	Up     bool
	Reason string
	MAC    string
	// Source4 and Source6 are the interface's own first addresses (IPv6: link-local); invalid if there is none.
	Source4, Source6 netip.Addr
	// Own are all of the interface's own addresses that adverts could come from; never a virtual one.
	Own []netip.Addr
	// VirtualMACs are the virtual MAC addresses that were asked for on the interface.
	VirtualMACs []VirtualMAC
	// Swallowers are the devices on it that keep what is sent from a virtual router's MAC address for themselves.
	Swallowers []Swallower
}

// source returns the address that adverts of the family come from.
func (l *Link) source(f vrrp.Family) netip.Addr {
	if f == vrrp.IPv6 {
		return l.Source6
	}
	return l.Source4
}

// owns says whether an address is the interface's own.
func (l *Link) owns(ip netip.Addr) bool {
	return ip.IsValid() && (ip == l.Source4 || ip == l.Source6 || slices.Contains(l.Own, ip))
}

// State is where an instance stands.
type State string

// The states of an instance.
const (
	Init    State = "init"    // not yet known whether it may take part
	Backup  State = "backup"  // another host holds the addresses, or nobody yet
	Master  State = "master"  // this host holds the addresses
	Leaving State = "leaving" // handing over; this host still serves
	Fault   State = "fault"   // cannot take part; holds nothing, sends nothing
	Stopped State = "stop"    // the daemon has ended; only hooks see it
	// Contended is no state of an instance: hooks are told by it that another master was seen.
	Contended State = "contention"
)

// takesPart says whether who is in that state takes part in the election.
func (s State) takesPart() bool { return s == Backup || s == Master || s == Leaving }

// Action is something that the node wants done.
type Action interface{ action() }

// The actions.
type (
	// Send wants a message on the wire; past Until it is stale and must be dropped.
	Send struct {
		Instance            string
		Interface           string
		Family              vrrp.Family
		Payload             []byte
		Source, Destination netip.Addr
		Until               time.Time
		VirtualMAC          uint8 // the VRID whose MAC address it comes from; 0: the interface's own
	}
	// SetAddresses says which addresses the instance shall have on its interface: none is a release.
	SetAddresses struct {
		Instance  string
		Interface string
		Addresses []Address
		Lifetime  time.Duration // 0: for ever
		Until     time.Time     // past it a renewal is stale; zero for anything else
		// VirtualMAC is the VRID whose MAC address they have; 0: the interface's own.
		VirtualMAC uint8
		Request    uint64 // counts what is asked for; a renewal has the one of what it renews
	}
	// Announce wants one round of announcements; past Until it is stale.
	Announce struct {
		Instance  string
		Interface string
		IPs       []netip.Addr
		Until     time.Time
		// VirtualMAC is the VRID whose MAC address is announced; 0: the interface's own.
		VirtualMAC uint8
	}
	// Probe asks the link whether another host answers for the addresses. It always comes from the interface's own MAC: who has
	// the same virtual one would take a question from it for its own.
	Probe struct {
		Interface string
		IPs       []netip.Addr
		Source6   netip.Addr // the link-local address that answers about IPv6 addresses go to
	}
	// Notify wants the hooks of a state run.
	Notify struct {
		Instance   string // empty: it is the group's own
		Group      string // the group, or the one that the instance is in
		Interface  string
		State      State
		Previous   State
		Priority   uint8
		Why        string
		Addresses  []netip.Addr
		Generation uint64
		At         time.Time
		Reassert   bool // a contention ended without a change of state
		// Peer is who has taken over, or a contention's other master, where its adverts are heard. PeerMAC is the MAC that answers for
		// the addresses, where one was seen: of a contention besides, of who has taken over where Peer is not known.
		Peer    netip.Addr
		PeerMAC string
	}
	// Changed is one line for the log: the instance changed its state.
	Changed struct {
		Instance string
		From, To State
		Why      string
		Priority uint8
		Quiet    bool   // a repetition that nobody need be told of
		Group    string // that the instance is in
	}
	// Compared is one line for the log of a shadow: it has differed from this host's own adverts for a while, or agrees again.
	Compared struct {
		Instance string
		Agrees   bool
		Why      string
	}
	// Warned is one line for the log: something is wrong, and what.
	Warned struct {
		Instance string
		Why      string
	}
	// LookUp wants peers' names looked up now: a host may have another address than the one that is known.
	LookUp struct {
		Instance string
		Names    []string
	}
	// Recheck wants checks run at once, and each one's answer as Rechecked.
	Recheck struct{ Checks []string }
	// Noted is one line for the log: something is as it should be.
	Noted struct {
		Instance string
		Why      string
	}
)

func (Send) action()         {}
func (SetAddresses) action() {}
func (Announce) action()     {}
func (Probe) action()        {}
func (Notify) action()       {}
func (Changed) action()      {}
func (Compared) action()     {}
func (Warned) action()       {}
func (LookUp) action()       {}
func (Recheck) action()      {}
func (Noted) action()        {}
