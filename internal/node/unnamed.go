package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// A host that cannot name all its peers is deaf to those: it refuses their adverts as a stranger's, and its own do not reach them. One
// of them may be master, so silence proves nothing, and two would serve the addresses until the name is found. So it asks the link
// before it takes them, as an unhealthy host does, and waits as long again while another host answers: who answers for the addresses
// has them on this link anyway.

// unnamed says which peers an instance knows no address of, in words; empty: it knows them all.
func (n *Node) unnamed(i *instance) string {
	if !i.cfg.unicast() {
		return ""
	}
	if i.alone() {
		return "none of its peers is known"
	}
	for _, p := range i.cfg.Peers {
		if slices.ContainsFunc(i.members, func(m *member) bool { return n.problem(m, p) != "" }) {
			return fmt.Sprintf("the peer %q is not known", p.Name)
		}
	}
	return ""
}

// alone says whether the adverts of a family have nobody to go to.
func (i *instance) alone() bool {
	return slices.ContainsFunc(i.members, func(m *member) bool { return len(m.outlets) == 0 })
}

// deaf says whether a fate that hears nobody cannot name all its peers. Who hears the master that it is about to push aside is not.
func (n *Node) deaf(now time.Time, f *fate) bool {
	return !f.pushes(now) && slices.ContainsFunc(f.instances, func(i *instance) bool { return n.unnamed(i) != "" })
}

// isPeer says whether a MAC address is one that a known peer was seen to send from: that one would be heard if it were master. A virtual
// router's is whoever's that is master.
func (n *Node) isPeer(i *instance, mac string) bool {
	if strings.HasPrefix(mac, sharedMAC) {
		return false
	}
	a := n.aroundOf(i.cfg.Interface)
	for _, m := range i.members {
		if slices.ContainsFunc(m.outlets, func(o *outlet) bool { return a.macs[o.to].last == mac || a.macs[o.to].before == mac }) {
			return true
		}
	}
	return false
}

// answered is another host that serves the addresses which a deaf fate was about to take.
func (n *Node) answered(now time.Time, i *instance, mac string) {
	unnamed := n.unnamed(i)
	if unnamed == "" || n.isPeer(i, mac) {
		return
	}
	f := i.fate
	why := fmt.Sprintf("%s serves its addresses, and %s", mac, unnamed)
	n.listenOn(now, f, why)
	if f.unheard != why {
		f.unheard = why
		f.explain(why)
		n.do(Warned{i.cfg.Name, why + ": waiting while it does; see that the name is found, or write an address into peers"})
	}
}

// listenOn has a backup wait for a master as long again.
func (n *Node) listenOn(now time.Time, f *fate, why string) {
	f.probed = time.Time{}
	for m := range f.members() {
		n.perform(now, m, m.machine.Step(now, vrrp.Witnessed{Why: why, Asked: true}))
	}
}

// becameKnown is a peer of which another address was found. Until now a backup that hears nobody may have been deaf to it: it waits as long
// again, and this says whether it does. A handover goes on: whoever hands over is heard. A name for which it has waited already, at an
// instant, counts again only once a master was heard after that: one whose answers take turns would have it wait for ever.
func (n *Node) becameKnown(now time.Time, f *fate, waited time.Time) bool {
	if f.state != Backup || f.pushes(now) || !f.followedSince(waited) {
		return false
	}
	for m := range f.members() {
		if cause, _, over := m.machine.Ready(); m.machine.Handover() || over && cause != vrrp.Silence {
			return false
		}
	}
	n.listenOn(now, f, "a peer has become known")
	f.hearsAgain()
	return true
}

// followedSince says whether a backup has heard the master that it follows after an instant, or became a backup after it.
func (f *fate) followedSince(at time.Time) bool {
	if f.since.After(at) {
		return true
	}
	for m := range f.members() {
		if m.machine.Followed().Heard.After(at) {
			return true
		}
	}
	return false
}

// hearsAgain ends what was told of a master that was not heard.
func (f *fate) hearsAgain() {
	if f.unheard != "" && f.state == Backup {
		f.explain("listening")
	}
	f.unheard = ""
}
