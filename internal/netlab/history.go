package netlab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Change is a host's getting or losing an address.
type Change struct {
	At   time.Time
	Host string
	Addr netip.Addr
	Held bool // whether the host has the address from At on
}

// History is changes in the order of time.
type History []Change

// Owners lists the hosts that had an address at an instant, by name.
func (h History) Owners(addr netip.Addr, at time.Time) []string {
	var owners []string
	for _, c := range h {
		if c.At.After(at) {
			break
		}
		owners = apply(owners, c, addr)
	}
	return owners
}

func apply(owners []string, c Change, addr netip.Addr) []string {
	if c.Addr != addr {
		return owners
	}
	i, found := slices.BinarySearch(owners, c.Host)
	switch {
	case c.Held && !found:
		return slices.Insert(slices.Clone(owners), i, c.Host)
	case !c.Held && found:
		return slices.Delete(slices.Clone(owners), i, i+1)
	default:
		return owners
	}
}

// Period is a time in which the same hosts had an address.
type Period struct {
	From, To time.Time
	Owners   []string
}

// Periods divides the time between two instants by who had an address.
func (h History) Periods(addr netip.Addr, from, to time.Time) []Period {
	p := Period{From: from, To: to, Owners: h.Owners(addr, from)}
	var periods []Period
	for _, c := range h {
		if c.Addr != addr || !c.At.After(from) || !c.At.Before(to) {
			continue
		}
		periods = append(periods, Period{From: p.From, To: c.At, Owners: p.Owners})
		p.From, p.Owners = c.At, apply(p.Owners, c, addr)
	}
	return append(periods, p)
}

// Overlap is the longest time between two instants for which two hosts or more had an address.
func (h History) Overlap(addr netip.Addr, from, to time.Time) time.Duration {
	return h.longest(addr, from, to, func(owners int) bool { return owners > 1 })
}

// Gap is the longest time between two instants for which no host had an address.
func (h History) Gap(addr netip.Addr, from, to time.Time) time.Duration {
	return h.longest(addr, from, to, func(owners int) bool { return owners == 0 })
}

func (h History) longest(addr netip.Addr, from, to time.Time, match func(owners int) bool) time.Duration {
	var longest, run time.Duration
	for _, p := range h.Periods(addr, from, to) {
		if !match(len(p.Owners)) {
			run = 0
			continue
		}
		run += p.To.Sub(p.From)
		longest = max(longest, run)
	}
	return longest
}

// Moves counts how often another host than the last one became the only owner of an address between two instants.
func (h History) Moves(addr netip.Addr, from, to time.Time) int {
	moves, last := 0, ""
	for _, p := range h.Periods(addr, from, to) {
		if len(p.Owners) != 1 || p.Owners[0] == last {
			continue
		}
		if last != "" {
			moves++
		}
		last = p.Owners[0]
	}
	return moves
}

// Gets is when a host got an address after an instant; never is an hour later.
func (h History) Gets(host string, addr netip.Addr, after time.Time) time.Time {
	return h.next(host, addr, after, true)
}

// Loses is when a host lost an address after an instant; never is an hour later.
func (h History) Loses(host string, addr netip.Addr, after time.Time) time.Time {
	return h.next(host, addr, after, false)
}

func (h History) next(host string, addr netip.Addr, after time.Time, held bool) time.Time {
	for _, c := range h {
		if c.Host == host && c.Addr == addr && c.Held == held && c.At.After(after) {
			return c.At
		}
	}
	return after.Add(time.Hour)
}

// String is the history as lines of text, with times counted from the first change.
func (h History) String() string {
	var text strings.Builder
	for _, c := range h {
		verb := "loses"
		if c.Held {
			verb = "gets"
		}
		fmt.Fprintf(&text, "%10.1fms  %s %s %v\n", float64(c.At.Sub(h[0].At))/float64(time.Millisecond), c.Host, verb, c.Addr)
	}
	return text.String()
}
