package daemon

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/vrrp"
)

// groupGap is how often it is looked whether the entries are still there: nothing is subscribed to that tells of it, since a flood of
// neighbours would be told too. What a dead daemon left is taken away at the first look.
const groupGap = time.Second

// groupKeeper keeps the neighbour entries of VRRP's groups, without which a full table silences this host. It is one goroutine of its
// own, since the kernel may take its time; what it cannot do is no reason not to take part.
type groupKeeper struct {
	log    hclog.Logger
	others func() []linux.Router // that other daemons of this host run
	wanted atomic.Pointer[[]linux.GroupEntry]
	wake   chan struct{}
	told   map[linux.GroupEntry]string // what was logged of an entry last
}

func newGroupKeeper(log hclog.Logger, others func() []linux.Router) *groupKeeper {
	g := &groupKeeper{log: log, others: others, wake: make(chan struct{}, 1), told: map[linux.GroupEntry]string{}}
	g.wanted.Store(&[]linux.GroupEntry{})
	return g
}

// want replaces the list of entries. It never waits.
func (g *groupKeeper) want(list []linux.GroupEntry) {
	g.wanted.Store(&list)
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// run keeps the entries until ctx ends, and removes them then.
func (g *groupKeeper) run(ctx context.Context) error {
	entries, err := linux.OpenGroupEntries(g.others)
	if err != nil {
		g.log.Warn("no neighbour entries are set for VRRP's groups", "error", err)
		return nil
	}
	defer entries.Close()
	look := time.NewTicker(groupGap)
	defer look.Stop()
	for first := true; ; {
		select {
		case <-g.wake:
		case <-look.C:
			if first {
				g.adopt(entries)
			}
			first = false
		case <-ctx.Done():
			g.tell(entries.Set())
			return nil
		}
		g.tell(entries.Set(*g.wanted.Load()...))
	}
}

func (g *groupKeeper) adopt(entries *linux.GroupEntries) {
	if err := entries.Adopt(); err != nil {
		g.log.Warn("neighbour entries that an earlier daemon left may stay", "error", err)
	}
}

// tell logs what failed, once for each thing.
func (g *groupKeeper) tell(failed map[linux.GroupEntry]error) {
	for e := range g.told {
		if failed[e] == nil {
			delete(g.told, e)
		}
	}
	for e, err := range failed {
		if g.told[e] != err.Error() {
			g.log.Warn("without a permanent neighbour entry no advert leaves while the kernel's neighbour table is full", "error", err)
		}
		g.told[e] = err.Error()
	}
}

// clear takes away what a dead daemon left.
func (g *groupKeeper) clear() {
	entries, err := linux.OpenGroupEntries(g.others)
	if err != nil {
		g.log.Warn("neighbour entries of VRRP's groups may stay", "error", err)
		return
	}
	defer entries.Close()
	g.adopt(entries)
	g.tell(entries.Set())
}

// groups lists where a port sends to VRRP's groups: through the interface, and through the macvlans of those that have a virtual MAC.
func (p *port) groups(n needs) (list []linux.GroupEntry) {
	if p.tap != nil || !linux.IsEthernet(p.mac) {
		return nil
	}
	for f, accepts := range n.accepts {
		for _, a := range accepts {
			index := p.index
			if d := p.devices[deviceKey{a.VRID, f}]; d != nil {
				index = d.Index // 0: it cannot be had
			}
			if e := (linux.GroupEntry{Index: index, V6: f == vrrp.IPv6}); !a.Unicast && index != 0 && !slices.Contains(list, e) {
				list = append(list, e)
			}
		}
	}
	slices.SortFunc(list, linux.GroupEntry.Compare)
	return list
}

// regroup says what an open port, or none, now needs.
func (k *portKeeper) regroup(ifName string, p *port, n needs) {
	var list []linux.GroupEntry
	if p != nil {
		list = p.groups(n)
	}
	if len(list) == 0 && len(k.grouped[ifName]) == 0 {
		return
	}
	k.grouped[ifName] = list
	if len(list) == 0 {
		delete(k.grouped, ifName)
	}
	var all []linux.GroupEntry
	for _, of := range k.grouped {
		all = append(all, of...)
	}
	k.groups.want(all)
}
