package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Ownership is the history of who had which address.
type Ownership struct {
	// Changed, if set, is told of each change.
	Changed func(ip netip.Addr, host string, hosts []string)

	began   time.Time
	history map[netip.Addr][]Period
}

// Period is a time in which the same hosts had an address.
type Period struct {
	From  time.Time
	Hosts []string // sorted; none is a gap, several an overlap
}

func newOwnership(now time.Time) *Ownership {
	return &Ownership{began: now, history: map[netip.Addr][]Period{}}
}

// change takes note that a host got or lost an address.
func (o *Ownership) change(now time.Time, ip netip.Addr, host string, has bool) {
	hosts := slices.DeleteFunc(slices.Clone(o.Now(ip)), func(h string) bool { return h == host })
	if has {
		hosts = append(hosts, host)
		slices.Sort(hosts)
	}
	o.history[ip] = append(o.history[ip], Period{now, hosts})
	if o.Changed != nil {
		o.Changed(ip, host, hosts)
	}
}

// Now returns the hosts that have an address.
func (o *Ownership) Now(ip netip.Addr) []string {
	periods := o.history[ip]
	if len(periods) == 0 {
		return nil
	}
	return periods[len(periods)-1].Hosts
}

// Periods returns the history of an address from an instant on; the first period begins there.
func (o *Ownership) Periods(ip netip.Addr, from time.Time) []Period {
	out := []Period{{From: from}}
	for _, p := range o.history[ip] {
		if !p.From.After(from) {
			out[0].Hosts = p.Hosts
			continue
		}
		if last := &out[len(out)-1]; last.From.Equal(p.From) {
			last.Hosts = p.Hosts // what changes at one instant was never seen
			continue
		}
		out = append(out, p)
	}
	return out
}

// Sum says for how long nobody, and more than one host, had an address between two instants.
func (o *Ownership) Sum(ip netip.Addr, from, to time.Time) (gap, overlap time.Duration) {
	periods := o.Periods(ip, from)
	for k, p := range periods {
		end := to
		if k+1 < len(periods) && periods[k+1].From.Before(to) {
			end = periods[k+1].From
		}
		if end.Before(p.From) {
			break
		}
		switch len(p.Hosts) {
		case 0:
			gap += end.Sub(p.From)
		case 1:
		default:
			overlap += end.Sub(p.From)
		}
	}
	return gap, overlap
}

// Describe prints the history of an address from an instant on.
func (o *Ownership) Describe(ip netip.Addr, from, to time.Time) string {
	var b strings.Builder
	for k, p := range o.Periods(ip, from) {
		if k > 0 {
			b.WriteString(", ")
		}
		who := strings.Join(p.Hosts, "+")
		if who == "" {
			who = "nobody"
		}
		fmt.Fprintf(&b, "%s %s", p.From.Sub(o.began), who)
	}
	gap, overlap := o.Sum(ip, from, to)
	return fmt.Sprintf("%s: %s; gap %s, overlap %s", ip, b.String(), gap, overlap)
}
