package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/notify"
	"github.com/understudy-ha/understudy/vrrp"
)

// A shadow is a daemon that sends nothing and sets nothing. It has a tap in the place of the sockets, and in the place of the
// kernel's addresses one that only says what would be set; its hooks say that they would run. All else is as always.

// shadowKernel is the address setter's kernel of a shadow.
type shadowKernel struct {
	log  hclog.Logger
	sets map[string]linux.Want // by owner; the setter's goroutine alone uses it
}

var _ addressKernel = (*shadowKernel)(nil)

func newShadowKernel(log hclog.Logger) *shadowKernel {
	return &shadowKernel{log: log, sets: map[string]linux.Want{}}
}

// Set says what would change.
func (k *shadowKernel) Set(wants ...linux.Want) []linux.AddressError {
	for _, w := range wants {
		old := k.sets[w.Owner]
		k.tell("would set an address", w, old.Addresses)
		k.tell("would remove an address", linux.Want{Owner: w.Owner, Interface: old.Interface, Addresses: old.Addresses}, w.Addresses)
		k.sets[w.Owner] = w
		if len(w.Addresses) == 0 {
			delete(k.sets, w.Owner)
		}
	}
	return nil
}

// tell logs the addresses of one list that are not in another.
func (k *shadowKernel) tell(what string, w linux.Want, but []linux.Address) {
	for _, a := range w.Addresses {
		if !slices.Contains(but, a) {
			k.log.Info(what, "instance", w.Owner, "address", a.IP, "interface", w.Interface)
		}
	}
}

// Missing says that nothing is: what this host's addresses are is the other daemon's business.
func (k *shadowKernel) Missing(string, []netip.Addr) ([]netip.Addr, error) { return nil, nil }

// Foreign is nobody's address: a shadow runs where another daemon has them.
func (k *shadowKernel) Foreign(...linux.Want) ([]linux.AddressError, error) { return nil, nil }

// Notice has nothing to complain of.
func (k *shadowKernel) Notice() error { return nil }

// hooksOf are the hooks that run: a shadow's only say that they would.
func (d *Daemon) hooksOf(p *plan) []notify.Hook {
	if !d.opts.Shadow {
		return p.hooks
	}
	return notify.Muted(p.hooks, func(hook string, t notify.Transition) {
		d.log.Named("notify").Info("would run a hook", "hook", hook, "instance", t.Instance, "state", t.State, "why", t.Reason)
	})
}

// imagined are the virtual MAC addresses of an interface as a shadow elects with them: it makes no device, but knows what each would
// be.
func (d *Daemon) imagined(l node.Link) (list []node.VirtualMAC) {
	mac, err := net.ParseMAC(l.MAC)
	for _, m := range d.virtualRouters() {
		if m.Parent != l.Name {
			continue
		}
		v := node.VirtualMAC{VRID: m.VRID, Family: keyOf(m).family}
		switch {
		case err != nil:
			v.Reason = fmt.Sprintf("interface %q: %v", l.Name, err)
		case m.V6:
			v.Source = m.Source6(mac)
		}
		list = append(list, v)
	}
	return list
}

// vrids are those of one family.
func (n needs) vrids(f vrrp.Family) []uint8 {
	var ids []uint8
	for _, a := range n.accepts[f] {
		ids = append(ids, a.VRID)
	}
	return ids
}

// tapOn opens an interface's tap in the place of its sockets.
func (p *port) tapOn(ifName string, n needs) (err error) {
	if p.tap, err = linux.OpenTap(ifName); err != nil {
		return err
	}
	return p.tap.SetVRIDs(n.vrids(vrrp.IPv4), n.vrids(vrrp.IPv6))
}

// listenIn gives the loop what a tap hears: of other hosts, and of this one.
func (k *portKeeper) listenIn(ctx context.Context, ifName string, tap *linux.Tap, refused *refusals) error {
	known := newAcquaintances()
	return tap.Run(ctx, func(p linux.Tapped) { k.tapped(ctx, ifName, p, known, refused) })
}

// tapped gives the loop one message.
func (k *portKeeper) tapped(ctx context.Context, ifName string, p linux.Tapped, known *acquaintances, refused *refusals) {
	refused.flush(p.At)
	if !p.Outgoing && known.learn(p.At, p.Source, p.MAC) {
		k.post(ctx, node.Seen{Interface: ifName, From: p.Source, MAC: p.MAC.String()})
	}
	received, err := vrrp.Parse(p.Payload, p.Source, p.Destination, p.TTL)
	if p.Fragment {
		received.VRID, err = p.Payload[1], vrrp.ErrFragment
	}
	switch {
	case err != nil:
		refused.add(p.At, node.Refused{Interface: ifName, VRID: received.VRID, From: p.Source, MAC: p.MAC.String(), Err: err})
	case p.Outgoing:
		k.post(ctx, node.OwnAdvert{Interface: ifName, MAC: p.MAC.String(), Received: received})
	default:
		k.post(ctx, node.Heard{Interface: ifName, Received: received})
	}
}

// compared is the one line of a difference that lasts, or of its end.
func (l *loop) compared(a node.Compared) {
	if a.Agrees {
		l.log.Info("agrees with this host's own adverts again", "instance", a.Instance, "why", a.Why)
		return
	}
	l.log.Warn("differs from this host's own adverts", "instance", a.Instance, "why", a.Why)
}
