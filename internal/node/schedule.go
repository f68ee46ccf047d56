package node

import (
	"container/heap"
	"net/netip"
	"time"
)

// schedule keeps the fates ordered by their deadlines: thousands of them each have one every second.
type schedule []*fate

// Len, Less, Swap, Push and Pop are container/heap's.
func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(a, b int) bool { return s[a].due.Before(s[b].due) }
func (s schedule) Swap(a, b int) {
	s[a], s[b] = s[b], s[a]
	s[a].place, s[b].place = a, b
}

// Push adds a fate.
func (s *schedule) Push(x any) {
	f := x.(*fate)
	f.place = len(*s)
	*s = append(*s, f)
}

// Pop removes the last.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	f := (*s)[last]
	*s = (*s)[:last]
	f.place = unplanned
	return f
}

// unplanned is the place of a fate without a deadline.
const unplanned = -1

// plan puts a fate where its deadline belongs. Whatever touches a fate or one of its instances plans it afterwards.
func (n *Node) plan(f *fate) {
	f.due = f.deadline()
	switch planned := f.place != unplanned; {
	case f.due.IsZero() && planned:
		heap.Remove(&n.schedule, f.place)
	case f.due.IsZero():
	case planned:
		heap.Fix(&n.schedule, f.place)
	default:
		heap.Push(&n.schedule, f)
	}
}

// Deadline says when the node wants an Elapsed.
func (n *Node) Deadline() (time.Time, bool) {
	if len(n.schedule) == 0 {
		return time.Time{}, false
	}
	return n.schedule[0].due, true
}

// elapsed lets every fate act whose deadline has come, once.
func (n *Node) elapsed(now time.Time) {
	var dues []*fate
	for len(n.schedule) > 0 && !now.Before(n.schedule[0].due) {
		dues = append(dues, heap.Pop(&n.schedule).(*fate))
	}
	for _, f := range dues {
		n.tick(now, f)
		n.plan(f)
	}
}

// index finds instances by what events name. It is made anew when the instances change.
type index struct {
	name      map[string]*instance
	address   map[netip.Addr][]*instance
	addresses int // of all instances
}

// reindex makes the index, and plans every fate.
func (n *Node) reindex() {
	n.index = index{name: map[string]*instance{}, address: map[netip.Addr][]*instance{}}
	n.schedule = n.schedule[:0]
	for _, i := range n.instances {
		n.index.name[i.cfg.Name] = i
		for _, ip := range i.ips() {
			n.index.address[ip] = append(n.index.address[ip], i)
			n.index.addresses++
		}
	}
	for _, f := range n.fates {
		f.place = unplanned
		n.plan(f)
	}
}

// named calls f with the instance of a name, if there is one.
func (n *Node) named(name string, f func(*instance)) {
	if i := n.index.name[name]; i != nil {
		f(i)
		n.plan(i.fate)
	}
}

// owners calls f with each instance of an interface that an address belongs to.
func (n *Node) owners(ifName string, ip netip.Addr, f func(*instance)) {
	for _, i := range n.index.address[ip] {
		if i.cfg.Interface == ifName {
			f(i)
			n.plan(i.fate)
		}
	}
}

// onInterface calls f with each instance of an interface.
func (n *Node) onInterface(name string, f func(*instance)) {
	for _, i := range n.instances {
		if i.cfg.Interface == name {
			f(i)
			n.plan(i.fate)
		}
	}
}
