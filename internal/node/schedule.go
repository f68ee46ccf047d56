package node

import (
	"container/heap"
	"net/netip"
	"time"
)

// schedule keeps the instances ordered by their deadlines: thousands of them each have one every second.
type schedule []*instance

// Len, Less, Swap, Push and Pop are container/heap's.
func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(a, b int) bool { return s[a].due.Before(s[b].due) }
func (s schedule) Swap(a, b int) {
	s[a], s[b] = s[b], s[a]
	s[a].place, s[b].place = a, b
}

// Push adds an instance.
func (s *schedule) Push(x any) {
	i := x.(*instance)
	i.place = len(*s)
	*s = append(*s, i)
}

// Pop removes the last.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	i := (*s)[last]
	*s = (*s)[:last]
	i.place = unplanned
	return i
}

// unplanned is the place of an instance without a deadline.
const unplanned = -1

// plan puts an instance where its deadline belongs. Whatever touches an instance plans it afterwards.
func (n *Node) plan(i *instance) {
	i.due = i.deadline()
	switch planned := i.place != unplanned; {
	case i.due.IsZero() && planned:
		heap.Remove(&n.schedule, i.place)
	case i.due.IsZero():
	case planned:
		heap.Fix(&n.schedule, i.place)
	default:
		heap.Push(&n.schedule, i)
	}
}

// Deadline says when the node wants an Elapsed.
func (n *Node) Deadline() (time.Time, bool) {
	if len(n.schedule) == 0 {
		return time.Time{}, false
	}
	return n.schedule[0].due, true
}

// elapsed lets every instance act whose deadline has come, once.
func (n *Node) elapsed(now time.Time) {
	var dues []*instance
	for len(n.schedule) > 0 && !now.Before(n.schedule[0].due) {
		dues = append(dues, heap.Pop(&n.schedule).(*instance))
	}
	for _, i := range dues {
		n.tick(now, i)
		n.plan(i)
	}
}

// index finds instances by what events name. It is made anew when the instances change.
type index struct {
	name      map[string]*instance
	address   map[netip.Addr][]*instance
	addresses int // of all instances
}

// reindex makes the index, and plans every instance.
func (n *Node) reindex() {
	n.index = index{name: map[string]*instance{}, address: map[netip.Addr][]*instance{}}
	n.schedule = n.schedule[:0]
	for _, i := range n.instances {
		n.index.name[i.cfg.Name] = i
		for _, ip := range i.ips() {
			n.index.address[ip] = append(n.index.address[ip], i)
			n.index.addresses++
		}
		i.place = unplanned
		n.plan(i)
	}
}

// named calls f with the instance of a name, if there is one.
func (n *Node) named(name string, f func(*instance)) {
	if i := n.index.name[name]; i != nil {
		f(i)
		n.plan(i)
	}
}

// owners calls f with each instance of an interface that an address belongs to.
func (n *Node) owners(ifName string, ip netip.Addr, f func(*instance)) {
	for _, i := range n.index.address[ip] {
		if i.cfg.Interface == ifName {
			f(i)
			n.plan(i)
		}
	}
}

// onInterface calls f with each instance of an interface.
func (n *Node) onInterface(name string, f func(*instance)) {
	for _, i := range n.instances {
		if i.cfg.Interface == name {
			f(i)
			n.plan(i)
		}
	}
}
