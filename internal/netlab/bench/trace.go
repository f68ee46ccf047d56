package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

// traceBefore is how much of the time before a fault a trace shows.
const traceBefore = 100 * time.Millisecond

// traceLine is something that happened.
type traceLine struct {
	at   time.Time
	text string
}

// print shows one step: the daemons' logs, who had the address, and the client's connections, in the order of time.
func (p *pair) print(s step, from, done, to time.Time, saw netlab.Attempts, history netlab.History) {
	lines := append(traceAttempts(saw), traceLine{done, "-- the step is done"})
	p.tell(s.title, vip, from, to, history, lines)
}

// tell shows what happened to an address, and the lines beside it.
func (p *pair) tell(title string, addr netip.Addr, from, to time.Time, history netlab.History, lines []traceLine) {
	lines = append(lines, traceLine{from, "-- the step begins"}, traceLine{to, "-- the end of what is measured"})
	for _, host := range p.servers() {
		for _, l := range host.daemon.between(from.Add(-traceBefore), to) {
			lines = append(lines, traceLine{l.at, host.Name() + " | " + l.text})
		}
	}
	for _, c := range history {
		if c.Addr == addr && c.At.After(from.Add(-traceBefore)) && c.At.Before(to) {
			verb := "LOSES"
			if c.Held {
				verb = "GETS"
			}
			lines = append(lines, traceLine{c.At, fmt.Sprintf("%s %s the address", c.Host, verb)})
		}
	}
	slices.SortStableFunc(lines, func(a, b traceLine) int { return a.at.Compare(b.at) })
	fmt.Fprintf(p.out, "\n=== %s, %s at %v\n", title, p.product.name(), p.interval)
	for _, l := range lines {
		fmt.Fprintf(p.out, "%10.1f  %s\n", float64(l.at.Sub(from).Microseconds())/1000, l.text)
	}
	fmt.Fprintln(p.out)
}

// traceAttempts joins successive connections that fared alike.
func traceAttempts(saw netlab.Attempts) []traceLine {
	var lines []traceLine
	for i := 0; i < len(saw.List); {
		first, n := saw.List[i], 1
		slowest := first.Took
		for i+n < len(saw.List) && fate(saw.List[i+n]) == fate(first) {
			slowest = max(slowest, saw.List[i+n].Took)
			n++
		}
		last := saw.List[i+n-1]
		text := fmt.Sprintf("client: %d connections until %.1f: %s, the slowest after %.1f ms", n,
			float64(last.Start.Sub(saw.From).Microseconds())/1000, fate(first), float64(slowest.Microseconds())/1000)
		lines = append(lines, traceLine{first.Start, text})
		i += n
	}
	return lines
}

// fate is what became of a connection, in words.
func fate(a netlab.Attempt) string {
	words := []string{string(judge(a))}
	if a.Server != "" {
		words = append(words, "by "+a.Server)
	}
	if a.Err != nil {
		words = append(words, "("+a.Err.Error()+")")
	}
	return strings.Join(words, " ")
}
