package main

import (
	"fmt"
	"strings"
	"time"
)

// preamble says how the figures came about.
const preamble = `Two hosts (priorities 150 and 100) and a client in network namespaces, nginx on both hosts; VRRPv3 over multicast, preemption on.
keepalived 2.2.7 tracks nginx's processes by the kernel's events (with its own net_namespace option), checks the health page
with curl, and has reload_check_config on; its announcements are at their defaults (five at once, five more after 5 s, no
refresh). understudy watches nginx's pid file and asks for the same page. Both checks of the page: every second, timeout 0.9 s,
fall 2, rise 2. "keepalived" goes to FAULT when a check fails; "keepalived-weight" subtracts 60.

The client starts a new connection every 2 ms, whether or not earlier ones have ended; each has 1.5 s, no retry, no keep-alive.
**Outage** is the longest time between the starts of two successive connections that were answered within 100 ms, so 2 ms and a
late timer are no outage. **Stall** is the longest time between the starts of any two successive connections: what the machine
did to the client, and an outage is known no better than that; **felt** is the longest outage in which anybody tried to connect. **Lost** connections were refused or not established within
100 ms; **reset** ones were open at the instant of the move. Of 8 keep-alive connections and 4 slow downloads that lay open, the
table counts how many broke. **Settled** is when the last connection was started that the host that has the address in the end
did not answer in time. Where nginx is stopped and started in order, understudy has its drain around it and keepalived nothing, as
their packages come. Owners come from the kernel's address events. Figures are median / maximum of the runs, in milliseconds.
`

// markdown is the whole report.
func (r *results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Failover, measured\n\n%s, %s; took %s, seed %d.\n\n%s", r.Began.UTC().Format(time.DateOnly), r.Machine, r.Took, r.Seed, preamble)
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\nNote: %s.\n", n)
	}
	for _, interval := range r.intervals() {
		r.table(&b, interval)
	}
	r.scaleTable(&b)
	r.takeoverTable(&b)
	r.targetTable(&b)
	return b.String()
}

func (r *results) table(b *strings.Builder, interval milliseconds) {
	fmt.Fprintf(b, "\n## Advertisements every %v ms\n\n", interval)
	b.WriteString("| fault | daemon | runs | outage | felt | lost | reset | no or late answer | two owners | nobody | settled | keep-alive | downloads | stall |\n")
	const figures = 11 // columns
	b.WriteString("|---|---|---|" + strings.Repeat("---|", figures) + "\n")
	for _, s := range r.Summary {
		if s.Interval != interval {
			continue
		}
		runs := fmt.Sprint(s.Runs)
		if planned := r.plannedAt(interval); s.Runs < planned {
			runs += fmt.Sprintf(" of %d planned", planned)
		}
		if s.Missed > 0 {
			runs += fmt.Sprintf(" (%d did not end as they should)", s.Missed)
		}
		if text := s.happened(); text != "" {
			runs += "; " + text
		}
		if why := s.nothing(); why != "" {
			fmt.Fprintf(b, "| %s | %s | %s; %s |%s\n", rowTitle(s.Row), s.Daemon, runs, why, strings.Repeat(" |", figures))
			continue
		}
		two := s.TwoOwners.String()
		if s.Stays > 0 {
			two = fmt.Sprintf("stay, %d of %d runs", s.Stays, s.Runs)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %v | %v | %v | %v | %v | %v | %v | %v | %v of %d | %v of %d | %v |\n", rowTitle(s.Row), s.Daemon, runs,
			s.Outage, s.Felt, s.Lost, s.Reset, s.Unanswered, two, s.Nobody, s.Settled, s.KeepAlive, keepAlives, s.Downloads, downloads, s.Stall)
	}
}

// String is a figure as the tables show it.
func (s spread) String() string { return fmt.Sprintf("%s / %s", figure(s.Median), figure(s.Max)) }

// figure is a number with the digits that mean something.
func figure(v milliseconds) string {
	switch {
	case v == milliseconds(int64(v)) || v >= 100:
		return fmt.Sprintf("%.0f", v)
	default:
		return fmt.Sprintf("%.1f", v)
	}
}

func (r *results) scaleTable(b *strings.Builder) {
	if len(r.Scales) == 0 {
		return
	}
	b.WriteString("\n## Many instances\n\nCPU seconds a minute, the kernel's work on the daemon's behalf included. \"Moved\" is the time from SIGTERM until the\n" +
		"other host has the last address; two owners and nobody are the longest of any address at that move.\n" + memoryMeans(r.Memory) + "\n\n")
	fmt.Fprintf(b, "| case | daemon | CPU master | CPU backup | %s of the master, MiB | of the backup | moved | two owners | nobody |\n", r.Memory)
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range r.Scales {
		if s.Error != "" {
			reason, _, _ := strings.Cut(s.Error, "\n")
			fmt.Fprintf(b, "| %s | %s | %s | | | | | | |\n", s.Title, s.Daemon, reason)
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %.3f | %.3f | %.1f | %.1f | %s | %s | %s |\n", s.Title, s.Daemon, s.Master.CPU, s.Backup.CPU,
			s.Master.Memory, s.Backup.Memory, figure(s.Moved), figure(s.TwoOwners), figure(s.Nobody))
	}
}

func (r *results) takeoverTable(b *strings.Builder) {
	if len(r.Takeovers) == 0 {
		return
	}
	b.WriteString("\n## Taking over\n\nFrom the decision, as the status has it, until the first advert was on the wire, the kernel had the last address, and the last\n" +
		"address was announced on the wire for the first time. All of them are handovers: the master is drained, and the other host takes\n" +
		"over from it, the advert first. Where a host pushes a living master aside, its addresses come before its advert, on purpose; that is\n" +
		"not in these figures.\n\n| addresses | runs | advert | usable | announced |\n|---|---|---|---|---|\n")
	for _, t := range r.Takeovers {
		runs := fmt.Sprint(t.Runs)
		if t.Runs < t.Planned {
			runs += fmt.Sprintf(" of %d planned (%d missed)", t.Planned, t.Missed)
		}
		fmt.Fprintf(b, "| %d | %s | %v | %v | %v |\n", t.Addresses, runs, t.Advert, t.Usable, t.Announced)
	}
}

func (r *results) targetTable(b *strings.Builder) {
	if len(r.Targets) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Targets of understudy at 1 s, where a fault names no other interval\n\n| fault | figure | at most | measured | |\n|---|---|---|---|---|\n")
	for _, t := range r.Targets {
		verdict := t.String()
		if !t.holds() {
			verdict = "**" + verdict + "**"
		}
		fmt.Fprintf(b, "| %s | %s | %.4g %s | %.4g %s | %s |\n", targetTitle(t.Row), t.Title, t.Limit, t.Unit, t.Got, t.Unit, verdict)
	}
}
