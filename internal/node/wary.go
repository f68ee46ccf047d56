package node

import (
	"fmt"
	"time"
)

// waryGap is how often a wary instance asks the link again.
const waryGap = time.Second

// wary is a new instance whose addresses another instance had before the reload: under its new VRID it hears nothing of a
// host that still serves them under the old one, so it asks the link, and waits while another MAC answers. So does one that
// knows none of its peers.
type wary struct {
	at       time.Time // when the answers to the last question are in; zero: it is not wary, or cannot ask yet
	on       bool
	peerless bool
	answered string // by whom
}

// beWary makes an instance wary if one of its addresses was another's.
func (i *instance) beWary(before index) {
	for _, ip := range i.ips() {
		if len(before.address[ip]) > 0 {
			i.wary.on = true
		}
	}
}

// assessWary keeps a wary instance out of the election, and asks the link once it is there.
func (n *Node) assessWary(now time.Time, i *instance, s *standing) {
	if !i.wary.on || i.state.takesPart() {
		return
	}
	if s.cannot != "" || s.pending != "" {
		i.wary.at, i.wary.answered = time.Time{}, "" // an answer could not be heard: it asks once one can
		return
	}
	if i.wary.at.IsZero() {
		i.ask(n, now, probeWait)
	}
	switch answered := i.wary.answered; {
	case answered == "" && i.wary.peerless:
		s.pending = "asking whether another host serves its addresses, since none of its peers is known"
	case answered == "":
		s.pending = "asking whether another host still serves its addresses under another VRID"
	case i.wary.peerless:
		s.pending = fmt.Sprintf("%s serves its addresses, and none of its peers is known", answered)
	default:
		s.pending = fmt.Sprintf("%s still serves its addresses, which were another instance's before the reload", answered)
	}
}

// ask asks the link who has the addresses.
func (i *instance) ask(n *Node, now time.Time, wait time.Duration) {
	i.wary.at = now.Add(wait)
	n.do(Probe{i.cfg.Interface, i.ips(), n.links[i.cfg.Interface].Source6})
}

// tickWary looks at the answers: none ends the caution, another one means to ask again later.
func (n *Node) tickWary(now time.Time, i *instance) {
	if !due(now, i.wary.at) {
		return
	}
	if i.wary.answered == "" {
		i.wary = wary{}
		return
	}
	i.wary.answered = ""
	i.ask(n, now, waryGap)
}

// trust ends the caution when a master of its own VRID is heard: that one may serve the addresses.
func (n *Node) trust(now time.Time, i *instance) {
	if i.wary.on {
		i.wary = wary{}
		n.settle(now, i.fate)
		n.plan(i.fate)
	}
}
