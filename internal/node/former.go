package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A reload that turns the peers' addresses into names, or the group into peers with names, must not make an instance speak to nobody and
// hear nobody until these are found: a look-up may take longer than the other hosts wait for an advert, and of a misspelt name nothing
// is ever found. So while a name that the reload brought leads nowhere, the instance also speaks with whom it spoke before: with the
// former peers beside those that are known by now, from the address that these know it by; or with the group, and then with it alone,
// as the hosts do that have not read the new list yet.

// await has a virtual router keep its outlets until the names lead somewhere that a reload brought.
func (m *member) await(brought []string) {
	m.awaited = slices.DeleteFunc(append(m.awaited, brought...), func(name string) bool { return !m.of.cfg.names(name) })
	for _, o := range m.outlets {
		o.former = o.former || len(brought) > 0
	}
}

// waits says whether the outlets of before a reload count on: a name that it brought has no address, or all of them lead to no
// other host of the family.
func (n *Node) waits(m *member) bool {
	return len(m.awaited) > 0 && (slices.ContainsFunc(m.awaited, func(name string) bool { return n.problem(m, Peer{Name: name}) != "" }) ||
		len(n.destinations(m, n.links[m.of.cfg.Interface])) == 0)
}

// keepFormer adds those of the outlets of before a reload that the new list lacks.
func (m *member) keepFormer(before []*outlet, l *link) {
	for _, o := range before {
		switch {
		case !o.former:
		case o.to.IsMulticast():
			m.outlets = []*outlet{o}
			return
		case m.isOther(o.to, l):
			m.outlets = append(m.outlets, o)
		}
	}
}

// isOther says whether an address is another host's, as far as this one knows.
func (m *member) isOther(ip netip.Addr, l *link) bool {
	return ip != m.source && (ip != m.known || !m.listed) && (l == nil || !l.owns(ip))
}

// inGroup says whether the member speaks with the group although it has peers now.
func (m *member) inGroup() bool { return len(m.outlets) == 1 && m.outlets[0].to.IsMulticast() }

// tellFormer tells of a name that was looked up in vain, and keeps a virtual router with whom it spoke before.
func (n *Node) tellFormer(m *member, name string) {
	problem := n.problem(m, Peer{Name: name})
	if n.names[name] == nil || problem == "" || !slices.Contains(m.awaited, name) {
		return
	}
	var former []string
	for _, o := range m.outlets {
		if o.former {
			former = append(former, o.to.String())
		}
	}
	if len(former) > 0 {
		n.do(Warned{m.of.cfg.Name, fmt.Sprintf("the peer %q is not known (%s): until it is, adverts go to %s as before the reload; see that the name is found, or write an address into peers",
			name, problem, strings.Join(former, ", "))})
	}
}

// forgetNames drops what was found about names that no instance has any more: it may be another's by the time that a reload brings it back.
func (n *Node) forgetNames() {
	for name := range n.names {
		n.forgetName(name)
	}
}

// forgetName is the same for one.
func (n *Node) forgetName(name string) {
	if !slices.ContainsFunc(n.instances, func(i *instance) bool { return i.cfg.names(name) }) {
		delete(n.names, name)
	}
}
