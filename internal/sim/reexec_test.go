package sim

import (
	"encoding/json"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/node"
)

// maxCalmTries is how often a calm moment for an exchange is looked for.
const maxCalmTries = 20

// reexec exchanges a process at the first calm moment, as fast as it is meant to be.
func (s *scenario) reexec(d dice, h *Host) {
	s.exchange(h, d.upTo(min(100*time.Millisecond, fastestOf(s.o.siblings(s.common)).Interval/2)), planned, maxCalmTries)
}

// slowReexec exchanges one that is away for as long as it likes.
func (s *scenario) slowReexec(d dice, h *Host) { s.exchange(h, s.some(d), hard, maxCalmTries) }

// exchange tries until there is a calm moment, or so many times.
func (s *scenario) exchange(h *Host, gap time.Duration, u unrest, tries int) {
	switch {
	case exchange(h, gap):
		s.plights[h].exchange = u
	case tries > 0 && h.Running():
		s.then(s.common.Interval/7, u, func() { s.exchange(h, gap, u, tries-1) })
	}
}

// exchange is Reexec with a look at what it hands on.
func exchange(h *Host, gap time.Duration) bool {
	if h.Running() && h.node.Unrest(h.now()) == "" {
		faithful(h)
	}
	return h.Reexec(gap)
}

// faithful checks that a node which is restored at once is the one that was sealed, in all that a status and a seal show.
func faithful(h *Host) {
	now := h.now()
	text, err := pack(h.node.Seal(now))
	if err != nil {
		panic(err)
	}
	read, err := unpack(text, now, 0)
	if err != nil {
		panic(err)
	}
	next, _, err := node.Restore(read, now)
	if err != nil {
		h.c.Fault("%s: %v", h.Name, err)
		return
	}
	again, err := pack(next.Seal(now))
	if err != nil {
		panic(err)
	}
	if diff := cmp.Diff(string(text), string(again)); diff != "" {
		h.c.Fault("%s: sealed, restored and sealed again (-once +twice):\n%s", h.Name, diff)
	}
	was, is := asText(h.node.Status(now), now), asText(next.Status(now), now)
	if diff := cmp.Diff(was, is); diff != "" {
		h.c.Fault("%s: the status of the sealed node and of the restored one (-sealed +restored):\n%s", h.Name, diff)
	}
}

// asText is a status as readers get it, but for what its instants were called before the clock was set, and for what is not handed on but
// seen again.
func asText(s *node.Status, now time.Time) string {
	for k := range s.Instances {
		s.Instances[k].Clash = ""
	}
	node.ToWall(s, now)
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// exchanged checks that a process which goes on for another one does and says nothing because of it, unless it was away for so
// long that another host may be master.
func (w *watch) exchanged(h *Host, next *node.Node, actions []node.Action) {
	x := w.host(h)
	x.node = next
	for _, i := range x.instances {
		silent, patience := h.now().Sub(i.spoke), i.patience
		if i.alone { // the advert that it had nobody to send to was due before that, and nobody waits for what it said by an earlier configuration
			silent, patience = silent+i.last.Interval, deadInterval(i.last)
		}
		if i.state == node.Master && silent > patience {
			return
		}
	}
	for _, a := range actions {
		if set, ok := a.(node.SetAddresses); ok && len(set.Addresses) > 0 {
			continue
		}
		if _, ok := a.(node.Probe); !ok {
			w.c.Fault("%s: after it was exchanged it wants %T", h.Name, a)
		}
	}
}
