package daemon

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

const (
	// A reader tells the loop of so many refused packets in each window, one by one; of what exceeds that it tells the sum
	// once a window, for so many different ones.
	refusalWindow = 100 * time.Millisecond
	maxSingles    = 16
	maxSums       = 64
)

// refusals tells the loop what one reader refuses. What is no advert must not delay what is: a flood of it becomes a few
// events.
type refusals struct {
	ifName string
	post   func(node.Event)
	busy   func() bool // the loop has enough to do: what can wait does

	mu         sync.Mutex // guards what follows
	window     time.Time  // when it began
	singles    int        // told in it
	sums       map[refusalKey]*node.Refused
	overlooked uint64
}

// refusalKey is what refused packets have in common that are told as one.
type refusalKey struct {
	vrid   uint8
	from   netip.Addr
	mac    string
	reason string
}

// add tells of a packet, at once or with others.
func (r *refusals) add(now time.Time, ev node.Refused) {
	r.mu.Lock()
	told := r.over(now)
	key := refusalKey{ev.VRID, ev.From, ev.MAC, vrrp.ReasonOf(ev.Err)}
	switch sum := r.sums[key]; {
	case r.singles < maxSingles && !r.busy():
		r.singles++
		told = append(told, ev)
	case sum != nil:
		sum.Count++
	case len(r.sums) < maxSums:
		ev.Count = 1
		r.sums[key] = &ev
	default:
		r.overlooked++
	}
	r.mu.Unlock()
	r.tell(told)
}

// flush tells the sums of a window that is over. Whatever the reader receives calls it, and a clock when nothing comes any
// more.
func (r *refusals) flush(now time.Time) {
	r.mu.Lock()
	told := r.over(now)
	r.mu.Unlock()
	r.tell(told)
}

// tell may wait for the loop: mu is not held.
func (r *refusals) tell(events []node.Event) {
	for _, ev := range events {
		r.post(ev)
	}
}

// over begins a new window where one is over, and takes its sums; mu is held.
func (r *refusals) over(now time.Time) (told []node.Event) {
	if now.Sub(r.window) < refusalWindow {
		return nil
	}
	r.window, r.singles = now, 0
	if len(r.sums) == 0 && r.overlooked == 0 || r.busy() {
		return nil
	}
	for _, key := range slices.SortedFunc(maps.Keys(r.sums), func(a, b refusalKey) int { return a.from.Compare(b.from) }) {
		told = append(told, *r.sums[key])
	}
	clear(r.sums)
	if r.overlooked > 0 {
		told = append(told, node.Overlooked{Interface: r.ifName, Packets: r.overlooked})
	}
	r.overlooked = 0
	return told
}
