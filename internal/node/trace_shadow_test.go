package node_test

import (
	"fmt"
	"maps"
	"slices"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/internal/sim"
	"github.com/understudy-ha/understudy/vrrp"
)

// addShadow reads "shadow NAME BESIDE PRIORITY key=value ..": a second daemon of host BESIDE, which is silent.
func (tr *tracer) addShadow(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("want: shadow NAME BESIDE PRIORITY [key=value ..]")
	}
	if err := tr.addHost(append([]string{args[0]}, args[2:]...)); err != nil {
		return err
	}
	tr.cfg.Hosts[len(tr.cfg.Hosts)-1].Shadow = true
	if tr.beside == nil {
		tr.beside = map[string]string{}
	}
	tr.beside[args[0]] = args[1]
	return nil
}

// besides puts each shadow on its host: it has that one's addresses, and hears what it sends as the host's own. Whatever a
// shadow itself sends or sets is a fault.
func (tr *tracer) besides() {
	if len(tr.beside) == 0 {
		return
	}
	for _, s := range slices.Sorted(maps.Keys(tr.beside)) {
		shadow, host := tr.c.Host(s), tr.c.Host(tr.beside[s])
		shadow.SetLink(host.Link())
		tr.c.Cut(sim.Cut{From: host.Name, To: s, What: sim.Everything})
	}
}

// overhear is what shadows notice of what a host does.
func (tr *tracer) overhear(h *sim.Host, actions []node.Action) {
	for _, a := range actions {
		tr.overheard(h, a)
	}
}

// frameMAC is the sender of an advert's frame.
func frameMAC(h *sim.Host, a node.Send) string {
	if a.VirtualMAC == 0 {
		return h.Link().MAC
	}
	family := 1
	if a.Family == vrrp.IPv6 {
		family = 2
	}
	return fmt.Sprintf("00:00:5e:00:%02x:%02x", family, a.VirtualMAC)
}

// overheard is an action of a host, as a shadow on it notices it.
func (tr *tracer) overheard(h *sim.Host, a node.Action) {
	switch a := a.(type) {
	case node.Send:
		received, err := vrrp.Parse(a.Payload, a.Source, a.Destination, vrrp.HopLimit)
		for s, beside := range tr.beside {
			if beside == h.Name && err == nil {
				tr.c.Host(s).Feed(node.OwnAdvert{Interface: sim.Interface, MAC: frameMAC(h, a), Received: received})
			}
		}
	case node.Announce, node.Probe:
	default:
		return
	}
	if tr.beside[h.Name] != "" {
		tr.c.Fault("%s is a shadow and speaks: %T", h.Name, a)
	}
}
