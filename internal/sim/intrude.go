package sim

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// Intrude gives the host a packet that no node may act upon, whoever sends it, on a link: it is counted, perhaps told, and that is
// all, but that peers with names may be looked up: any stranger may be one of them.
func (h *Host) Intrude(link string, payload []byte, from, to netip.Addr, hopLimit int) {
	if h.node == nil || h.paused || h.frozen || h.Away() || !h.LinkOn(link).Up {
		return
	}
	ev := read(link, payload, from, to, hopLimit)
	before, timer := h.node.Seal(h.now()), h.deadline()
	actions := h.node.Step(h.now(), ev)
	for _, a := range actions {
		switch a := a.(type) {
		case node.Warned:
			h.record(a)
		case node.LookUp:
			h.perform(a)
		default:
			h.c.Fault("%s answers a packet from %s that is to be refused with %T", h.Name, from, a)
		}
	}
	after := h.node.Seal(h.now())
	sees := seesClock(before, after)
	moved := difference("", reflect.ValueOf(uncounted(before, sees)), reflect.ValueOf(uncounted(after, sees)))
	if after := h.deadline(); !after.Equal(timer) {
		h.c.Fault("%s moves its timer from %s to %s for a packet from %s that is to be refused", h.Name, timer, after, from)
	} else if moved != "" {
		h.c.Fault("%s changes %s for a packet from %s that is to be refused", h.Name, moved, from)
	}
}

// deadline is the node's next one, zero if it has none.
func (h *Host) deadline() time.Time {
	at, _ := h.node.Deadline()
	return at
}

// seesClock says whether some virtual router saw in between that the host's clock was set: with each packet, refused or not, it looks.
func seesClock(before, after node.Sealed) bool {
	began := func(s node.Sealed) (at []time.Time) {
		for _, i := range s.Instances {
			for _, m := range i.Members {
				at = append(at, m.Floors.Began)
			}
		}
		return at
	}
	return !slices.EqualFunc(began(before), began(after), time.Time.Equal)
}

// uncounted leaves out of a node what a refused packet may change: how many there were, from whom, why, and what was told of them; and where
// the host sees with it that its own clock was set, from when senders are believed.
func uncounted(s node.Sealed, seesClock bool) node.Sealed {
	for name, a := range s.Around {
		s.Around[name] = node.SealedAround{MACs: a.MACs}
	}
	maps.DeleteFunc(s.Around, func(_ string, a node.SealedAround) bool { return len(a.MACs) == 0 })
	for _, i := range s.Instances {
		for k := range i.Members {
			m := &i.Members[k]
			if seesClock {
				m.Floors, m.Keys = vrrp.Floors{}, nil // a key is new to who sees that no longer
			}
			m.Counters, m.Refusals, m.Notices, m.NewsFrom, m.NewsLeft = node.Counters{}, nil, nil, time.Time{}, 0
			var senders []node.SealedSender
			for _, x := range m.Senders {
				if x.Accepted > 0 {
					x.At, x.Refused, x.Turned, x.Told, x.Held = time.Time{}, "", node.SealedTurned{}, nil, nil
					senders = append(senders, x)
				}
			}
			m.Senders = senders
		}
	}
	for k := range s.Memory {
		if !seesClock {
			break
		}
		m := &s.Memory[k].Memory
		m.Marks = slices.Clone(m.Marks) // the node may have them still
		for n := range m.Marks {
			m.Marks[n].Set, m.Marks[n].Late, m.Marks[n].Quick = false, 0, time.Time{} // as the floors
		}
	}
	return s
}

// difference names the first thing in which two values of a type differ, and both; empty: they do not.
func difference(path string, a, b reflect.Value) string {
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		return ""
	}
	parts := 0
	part := func(k int) (string, reflect.Value, reflect.Value) { return "", a, b }
	switch {
	case a.Kind() == reflect.Struct && a.NumField() > 0 && a.Type().Field(0).IsExported():
		parts = a.NumField()
		part = func(k int) (string, reflect.Value, reflect.Value) {
			return path + "." + a.Type().Field(k).Name, a.Field(k), b.Field(k)
		}
	case a.Kind() == reflect.Slice && a.Len() == b.Len():
		parts = a.Len()
		part = func(k int) (string, reflect.Value, reflect.Value) {
			return fmt.Sprintf("%s[%d]", path, k), a.Index(k), b.Index(k)
		}
	}
	for k := range parts {
		if found := difference(part(k)); found != "" {
			return found
		}
	}
	return fmt.Sprintf("%s from %+v to %+v", strings.TrimPrefix(path, "."), a, b)
}

// Replay plays an advert with a good signature to the host, which it was not given when it was sent: it did not listen yet. It may make
// the host wait for its sender, or one that is unhealthy or leaves let go. It makes nobody master, and nobody speak, but for the last
// advert of an unhealthy master that gives way to its sender: that one may live, and must announce itself. One whose group does not give
// way announces its addresses again, as for any other master. A healthy master does not mind.
func (h *Host) Replay(link string, payload []byte, from, to netip.Addr) {
	if h.node == nil || h.paused || h.frozen || h.Away() || !h.LinkOn(link).Up {
		return
	}
	serving := map[string]bool{} // and healthy
	before, timed := h.node.Deadline()
	for _, i := range h.Status().Instances {
		serving[i.Name] = i.State == node.Master && len(i.Unhealthy) == 0
		over := func(r node.RouterStatus) bool { return r.Waiting != "" } // its timer may begin anew before another's elapses
		relieved := i.State == node.Leaving                               // it lets go sooner, as for any successor: see vrrp.Early
		timed = timed && !relieved && !slices.ContainsFunc(i.Routers, over)
	}
	observe := h.c.Observe
	h.c.Observe = func(h *Host, ev node.Event, actions []node.Action) {
		changes := false
		for _, a := range actions {
			changed, isChange := a.(node.Changed)
			send, speaks := a.(node.Send)
			speaks = speaks && (send.Payload[2] != vrrp.PriorityIll || !givesWay(actions, send.Instance))
			if speaks || isChange && (changed.To == node.Master || serving[changed.Instance]) {
				h.c.Fault("%s answers an old advert of %s, which somebody played to it, with %T", h.Name, from, a)
			}
			changes = changes || isChange
		}
		if after, _ := h.node.Deadline(); timed && !changes && after.Before(before) && !announcesAnew(h.node.Seal(h.now()), h.now(), after) {
			h.c.Fault("%s moves its timer from %s to %s for an old advert of %s, which somebody played to it", h.Name, before, after, from)
		}
		if observe != nil {
			observe(h, ev, actions)
		}
	}
	h.feed(read(link, payload, from, to, vrrp.HopLimit))
	h.c.Observe = observe
}

// announcesAnew says whether all that a node has to do at an instant is to announce addresses, since it has just seen another master to which its
// group does not give way.
func announcesAnew(s node.Sealed, now, at time.Time) bool {
	announces, other := false, false
	for _, i := range s.Instances {
		contends := i.Contention != nil && i.Contention.At.Equal(now)
		announces = announces || contends && (i.Announcer.Next.Equal(at) || i.Announcer.Answer.Equal(at))
		other = other || slices.ContainsFunc(i.Members, func(m node.SealedMember) bool { return m.Machine.Deadline.Equal(at) })
	}
	return announces && !other
}

// givesWay says whether an instance ceases to be master, for another one.
func givesWay(actions []node.Action, instance string) bool {
	return slices.ContainsFunc(actions, func(a node.Action) bool {
		c, ok := a.(node.Changed)
		return ok && c.Instance == instance && c.From == node.Master && c.To == node.Backup
	})
}

// read is what the daemon's reader makes of a packet.
func read(link string, payload []byte, from, to netip.Addr, hopLimit int) node.Event {
	received, err := vrrp.Parse(payload, from, to, hopLimit)
	if err != nil {
		return node.Refused{Interface: link, VRID: received.VRID, From: from, Err: err}
	}
	return node.Heard{Interface: link, Received: received}
}
