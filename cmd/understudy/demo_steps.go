package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// demoSettle is how long a step may take until the right host alone has the address: at the default interval of 1 s a
	// daemon that starts listens for 3.6 s, and checks that recover take another second or two.
	demoSettle = 10 * time.Second
	// demoTail is how long each step is watched after that.
	demoTail = time.Second
	// The longest waits that the steps allow the client: the machine may stall, and the address must not be gone.
	demoBrief   = time.Second
	demoSilence = 5 * time.Second // three missed adverts and the skew
)

// demoStep is one thing that is done to the hosts, and what it should lead to.
type demoStep struct {
	title    string
	do       func(ctx context.Context) error
	owner    string        // who has the address in the end, alone among those that the client can reach
	wait     time.Duration // the longest that the client may wait
	lossless bool          // a planned move: no connection may be refused or lost
}

// steps is the story of the demo.
func (d *demo) steps() []demoStep {
	lb1 := d.hosts[0]
	return []demoStep{
		{"start the daemon on both hosts", d.bothStart, "lb1", demoBrief, true},
		{"kill the web server on lb1", lb1.web.Kill, "lb2", demoBrief, false},
		{"bring the web server on lb1 back", lb1.web.Start, "lb1", demoBrief, true},
		{"stop the daemon on lb1", func(ctx context.Context) error { return d.stop(ctx, lb1) }, "lb2", demoBrief, true},
		{"start the daemon on lb1 again", func(context.Context) error { return d.start(lb1) }, "lb1", demoBrief, true},
		{"cut lb1 off: its packets vanish, its link stays up", func(context.Context) error { return d.setCut(lb1, true) }, "lb2", demoSilence, false},
		{"heal the cut", func(context.Context) error { return d.setCut(lb1, false) }, "lb1", demoBrief, false},
	}
}

// bothStart starts the daemons, and the client once there is somebody to connect to.
func (d *demo) bothStart(ctx context.Context) error {
	for _, h := range d.hosts {
		if err := d.start(h); err != nil {
			return err
		}
	}
	err := netlab.Eventually(ctx, demoSettle, func() (bool, string) {
		return d.dead() != "" || len(d.owners.Owners(demoAddress)) > 0, fmt.Sprintf("nobody has %v", demoAddress)
	})
	if err != nil && ctx.Err() != nil {
		return err
	}
	d.client = d.user.Client(netip.AddrPortFrom(demoAddress, 80), netlab.ClientOptions{Interval: demoInterval})
	return nil
}

func (d *demo) setCut(h *demoHost, cut bool) error {
	h.cut = cut
	if cut {
		return h.Cut()
	}
	return h.Heal()
}

// demoReport is what became of a step.
type demoReport struct {
	step          demoStep
	from, to      time.Time
	events        []demoEvent
	history       netlab.History
	hosts         []demoRow
	saw           netlab.Attempts
	before, after string // where the client's neighbour entry led
	wrong         []string
}

// demoRow is a host's bar in a report.
type demoRow struct{ name, label string }

// perform does a step, waits for what it should lead to, and compares. An error means that it could not be done.
func (d *demo) perform(ctx context.Context, s demoStep) (demoReport, error) {
	before, err := d.neighbour()
	if err != nil {
		return demoReport{}, err
	}
	r := demoReport{step: s, from: time.Now(), before: before}
	seen := r.from
	if err := s.do(ctx); err != nil {
		return r, err
	}
	if before == d.whose(nil) {
		seen = time.Now() // the client has only just begun
	}
	settled := netlab.Eventually(ctx, demoSettle, func() (bool, string) {
		ok, reason := d.settled(s.owner)
		return ok || d.dead() != "", reason
	})
	select {
	case <-ctx.Done():
		return r, context.Cause(ctx)
	case <-time.After(demoTail):
	}
	r.to = time.Now() // what is settled must stay so until here
	r.saw = d.client.Between(seen, r.to)
	if r.after, err = d.neighbour(); err != nil {
		return r, err
	}
	d.record(&r)
	r.wrong = d.judge(r, settled)
	return r, nil
}

// record fills in what happened on the hosts.
func (d *demo) record(r *demoReport) {
	r.history = d.owners.History()
	for _, h := range d.hosts {
		row := demoRow{name: h.Name(), label: h.Name()}
		if h.cut {
			row.label += " (cut)"
		}
		r.hosts = append(r.hosts, row)
		for _, e := range h.events(r.from, r.to) {
			// Paths of the demo's own say nothing to the reader.
			e.text = shorten(strings.ReplaceAll(e.text, d.lab.Dir()+"/", ""))
			r.events = append(r.events, e)
		}
	}
	r.events = append(r.events, ownerEvents(r.history.Periods(demoAddress, r.from, r.to))...)
	slices.SortStableFunc(r.events, func(a, b demoEvent) int { return a.at.Compare(b.at) })
}

// settled says whether the address, and the client's idea of it, are on the right host.
func (d *demo) settled(owner string) (bool, string) {
	if reason := d.dead(); reason != "" {
		return false, reason
	}
	owners := d.visible(d.owners.Owners(demoAddress))
	if !slices.Equal(owners, []string{owner}) {
		return false, fmt.Sprintf("%v is on %v, not on %s", demoAddress, owners, owner)
	}
	neighbour, err := d.neighbour()
	if err != nil {
		return false, err.Error()
	}
	return neighbour == d.macOf(owner), fmt.Sprintf("the client has %v at %s", demoAddress, neighbour)
}

func (d *demo) macOf(name string) string {
	i := slices.IndexFunc(d.hosts, func(h *demoHost) bool { return h.Name() == name })
	return d.whose(d.hosts[i].MAC())
}

// judge lists what a step did wrong.
func (d *demo) judge(r demoReport, settled error) []string {
	var wrong []string
	if settled != nil {
		wrong = append(wrong, settled.Error())
	} else if ok, reason := d.settled(r.step.owner); !ok {
		wrong = append(wrong, reason)
	}
	if last := r.saw.LastServer(); last != r.step.owner {
		wrong = append(wrong, fmt.Sprintf("the client's last answer is from %q, not from %s", last, r.step.owner))
	}
	// Where the machine let the client itself pause, the daemons paused too: no fault of theirs.
	if out, allowed := r.saw.Outage(), r.step.wait+r.saw.Stall(); out > allowed {
		wrong = append(wrong, fmt.Sprintf("the client waited %s, more than %s", milliseconds(out), milliseconds(allowed)))
	}
	if lost, _ := lostAndCut(r.saw); r.step.lossless && lost > 0 {
		wrong = append(wrong, fmt.Sprintf("the client lost %d connections, and a planned move loses none", lost))
	}
	return wrong
}

// lostAndCut counts the connections that failed: those that found nobody, and those that were open at the instant of a move.
// TCP's state does not move along: the old host no longer answers them, and the new one resets them.
func lostAndCut(saw netlab.Attempts) (lost, cut int) {
	for _, a := range saw.Failed() {
		if a.Established > 0 || errors.Is(a.Err, syscall.ECONNRESET) {
			cut++
		} else {
			lost++
		}
	}
	return lost, cut
}
