package sim

import (
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// unclaimedFor is how long addresses stay after a cleanup that found nobody for them (internal/netlab/STORIES.md, "Crash").
const unclaimedFor = 10 * time.Second

// remains is what a cleanup left for the process that is started next.
type remains struct {
	instances []string
	until     time.Time
}

// Cleaning says whether the host's process is a cleanup.
func (h *Host) Cleaning() bool { return h.cleaning && h.node != nil }

// Cleanup is what runs after a process that died: it hands over what the kernel still has.
func (h *Host) Cleanup() {
	if h.node != nil {
		return
	}
	var held []node.Instance
	for _, i := range h.cfg.Instances {
		if slices.Contains(h.kernel.instances(), i.Name) {
			i.Checks = nil // their verdicts died with the process
			held = append(held, i)
		}
	}
	if len(held) == 0 {
		h.kernel.sweep()
		return
	}
	var names []string
	for _, i := range held {
		names = append(names, i.Name)
	}
	h.kernel.keep(names) // what a removed instance was handing over goes without a word
	led := h.led
	h.begin(node.Config{Name: h.Name, Unclaimed: unclaimedFor, Instances: held, Groups: groupsOf(h.cfg.Groups, held)})
	h.cleaning = true
	h.names = newNames(h, led, h.begun)
	h.feed(node.Remembered{Routers: h.memory})
	h.names.recall()
	for _, i := range held {
		h.feed(node.Adopt{Instance: i.Name, Left: h.kernel.left(i.Name)})
	}
	h.feed(node.Stop{})
	h.look()
	h.names.run()
}

// groupsOf are the groups as far as they are of some instances.
func groupsOf(groups []node.Group, instances []node.Instance) (left []node.Group) {
	for _, g := range groups {
		g.Instances = slices.DeleteFunc(slices.Clone(g.Instances), func(name string) bool {
			return !slices.ContainsFunc(instances, func(i node.Instance) bool { return i.Name == name })
		})
		if len(g.Instances) > 0 {
			left = append(left, g)
		}
	}
	return left
}

// leave takes note of what a cleanup that ends leaves to the next process.
func (h *Host) leave() {
	h.remains, h.left = remains{}, h.cleaning
	if h.left {
		h.remains = remains{h.kernel.instances(), h.now().Add(unclaimedFor)}
	}
}

// adopts says which instances' addresses a new process finds and goes on with; all others it removes.
func (h *Host) adopts() []string {
	left := h.remains
	h.remains = remains{}
	if !h.now().Before(left.until) {
		h.kernel.sweep()
		return nil
	}
	configured := func(name string) bool {
		return slices.ContainsFunc(h.cfg.Instances, func(i node.Instance) bool { return i.Name == name })
	}
	var names []string
	for _, name := range h.kernel.instances() {
		if slices.Contains(left.instances, name) && configured(name) {
			names = append(names, name)
		}
	}
	h.kernel.keep(names)
	return names
}

// left lists the addresses that the kernel has of an instance, in order.
func (k *kernel) left(instance string) []netip.Addr {
	return slices.DeleteFunc(k.list(), func(ip netip.Addr) bool { return !k.addrs[ip].of(instance) })
}

// instances lists those that the kernel has addresses of, in order.
func (k *kernel) instances() []string {
	var names []string
	for _, ip := range k.list() {
		names = append(names, k.addrs[ip].owners...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// keep removes the addresses of all instances but some.
func (k *kernel) keep(names []string) {
	k.renew()
	for _, ip := range k.list() {
		for _, owner := range slices.Clone(k.addrs[ip].owners) {
			if !slices.Contains(names, owner) {
				k.disown(ip, owner)
			}
		}
	}
}
