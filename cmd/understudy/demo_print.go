package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// demoWidth is how many cells the bars of a step have.
	demoWidth = 60
	// demoLogLines is how much of a daemon's log is shown after a step that went wrong.
	demoLogLines = 30
)

// demoPrinter writes the demo for people.
type demoPrinter struct {
	out    io.Writer
	colour bool
}

func newDemoPrinter(out io.Writer) demoPrinter {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return demoPrinter{out: out}
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return demoPrinter{out: out, colour: err == nil}
}

// The colours of ECMA-48.
const (
	bold  = "1"
	red   = "31"
	green = "32"
)

func (p demoPrinter) paint(colour, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// line writes a line. That nobody reads it is no reason to stop: SIGPIPE is.
func (p demoPrinter) line(format string, args ...any) {
	fmt.Fprintf(p.out, format+"\n", args...)
}

func (p demoPrinter) intro(d *demo) {
	p.line("%s", p.paint(bold, "understudy demo: two hosts, one address, and a client that never stops asking"))
	p.line("")
	for _, h := range d.hosts {
		p.line("  %-7s %-12v %v  %s", h.Name(), h.Addresses()[0].Addr(), h.MAC(), d.web)
	}
	p.line("  %-7s %-12v %v  opens a new connection to %v every %v", d.user.Name(), d.user.Addresses()[0].Addr(), d.user.MAC(), demoAddress, demoInterval)
	p.line("")
	p.line("Both daemons run from this one file:")
	p.line("")
	text, err := os.ReadFile(d.config)
	if err != nil {
		p.line("  %v", err)
		return
	}
	for line := range strings.Lines(string(text)) {
		p.line("  %s", strings.TrimSuffix(line, "\n"))
	}
}

func (p demoPrinter) title(n, of int, title string) {
	p.line("")
	p.line("%s", p.paint(bold, fmt.Sprintf("%d/%d  %s", n, of, title)))
}

// report writes a step: what happened when, who had the address, what the client saw, and the verdict.
func (p demoPrinter) report(r demoReport) {
	for _, e := range r.events {
		p.line("  %8s  %s", milliseconds(e.at.Sub(r.from)), e.text)
	}
	p.line("")
	for _, h := range r.hosts {
		p.line("    %-11s%s", h.label, ownerBar(r.history, h.name, r.from, r.to))
	}
	p.line("    %-11s%s  %s", "client", clientBar(r.saw, r.from, r.to), milliseconds(r.to.Sub(r.from)))
	p.line("")
	p.line("    the client waited %s at most%s", milliseconds(r.saw.Outage()), stallNote(r.saw))
	p.line("    %s", connections(r.saw))
	p.line("    it had %v at %s, now at %s", demoAddress, r.before, r.after)
	for _, w := range r.wrong {
		p.line("  %s %s", p.paint(red, "WRONG"), w)
	}
	if len(r.wrong) == 0 {
		p.line("  %s", p.paint(green, "ok"))
	}
}

// stallNote says that the machine, not the network, may be why the client waited.
func stallNote(saw netlab.Attempts) string {
	if stall := saw.Stall(); stall > 4*demoInterval {
		return fmt.Sprintf(" (this machine let it pause for %s itself)", milliseconds(stall))
	}
	return ""
}

// connections sums up what became of the client's connections.
func connections(saw netlab.Attempts) string {
	lost, cut := lostAndCut(saw)
	var text strings.Builder
	fmt.Fprintf(&text, "%d of %d connections lost", lost, len(saw.List))
	if cut > 0 {
		fmt.Fprintf(&text, ", %d open at the move cut short", cut)
	}
	if late := len(saw.Delayed()); late > 0 {
		fmt.Fprintf(&text, ", %d answered late", late)
	}
	servers := saw.Servers()
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		fmt.Fprintf(&text, "; %d answered by %s", servers[name], name)
	}
	return text.String()
}

// ownerBar shows when a host had the address.
func ownerBar(h netlab.History, host string, from, to time.Time) string {
	bar := []byte(strings.Repeat(".", demoWidth))
	for _, p := range h.Periods(demoAddress, from, to) {
		if !slices.Contains(p.Owners, host) {
			continue
		}
		for i := demoCell(p.From, from, to); i <= demoCell(p.To, from, to); i++ {
			bar[i] = '='
		}
	}
	return string(bar)
}

// clientBar shows when the client's connections were answered (-), late (~), or lost or cut short (x).
func clientBar(saw netlab.Attempts, from, to time.Time) string {
	bar := []byte(strings.Repeat(" ", demoWidth))
	const order = " -~x"
	for _, a := range saw.List {
		mark := byte('-')
		switch {
		case a.Err != nil:
			mark = 'x'
		case a.Took > netlab.Prompt:
			mark = '~'
		}
		cell := &bar[demoCell(a.Start, from, to)]
		*cell = order[max(strings.IndexByte(order, *cell), strings.IndexByte(order, mark))]
	}
	return string(bar)
}

func demoCell(at, from, to time.Time) int {
	return min(int(demoWidth*at.Sub(from)/to.Sub(from)), demoWidth-1)
}

// logs shows the end of what the daemons said.
func (p demoPrinter) logs(d *demo) {
	for _, h := range d.hosts {
		lines := strings.Split(strings.TrimSpace(h.output()), "\n")
		lines = lines[max(0, len(lines)-demoLogLines):]
		p.line("")
		p.line("the daemon's log on %s:", h.Name())
		for _, line := range lines {
			p.line("  %s", line)
		}
	}
}

// summary is the table of all steps.
func (p demoPrinter) summary(reports []demoReport, took time.Duration) {
	p.line("")
	p.line("%s", p.paint(bold, fmt.Sprintf("%-52s %-8s %9s %6s", "All as it should be:", "address", "waited", "lost")))
	for _, r := range reports {
		lost, _ := lostAndCut(r.saw)
		p.line("%-52s %-8s %9s %6d", r.step.title, r.step.owner, milliseconds(r.saw.Outage()), lost)
	}
	p.line("")
	p.line("Took %.0f s. Now the hosts are removed, with everything on them.", took.Seconds())
}

// milliseconds writes a duration as people compare them.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}
