package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// clientInterval is the time between the starts of two connections.
	clientInterval = 2 * time.Millisecond
	// warmTime is how long the client runs before a fault.
	warmTime = 300 * time.Millisecond
	// tailTime is how long a step is watched after the address has moved: the second thoughts of daemons come by then.
	tailTime = 1200 * time.Millisecond
)

// milliseconds is how durations are written in JSON.
type milliseconds float64

func ms(d time.Duration) milliseconds { return milliseconds(float64(d.Microseconds()) / 1000) }

// sample is what one step of one run led to.
type sample struct {
	Row      string       `json:"row"`
	Daemon   string       `json:"daemon"`
	Interval milliseconds `json:"interval_ms"`
	Run      int          `json:"run"`

	// Outage is the longest time between the starts of two successive connections that were answered within 100 ms.
	Outage milliseconds `json:"outage_ms"`
	// Felt is the longest such time in which a connection was started that was not answered so. An outage that is longer is
	// a stall.
	Felt milliseconds `json:"felt_ms"`
	// Stall is the longest time between the starts of any two successive connections: what the machine kept the client from.
	Stall milliseconds `json:"stall_ms"`
	// Settled is when, after the step's begin, the last connection was started that the host that has the address in the end
	// did not answer within 100 ms. 0: all of them were its.
	Settled milliseconds `json:"settled_ms"`
	// TwoOwners and Nobody are the longest times for which two hosts, or none, had the address.
	TwoOwners milliseconds `json:"two_owners_ms"`
	Nobody    milliseconds `json:"nobody_ms"`
	// Stays says that two hosts had the address at the end.
	Stays bool `json:"two_owners_stay,omitempty"`
	// Moves is how often the address changed its host.
	Moves int `json:"moves"`

	// Of the new connections: how many there were, were refused or not established within 100 ms, were reset because they
	// were open when the address moved, had no answer, and were established in time but answered after more than 100 ms.
	Connections int `json:"connections"`
	Lost        int `json:"lost"`
	Reset       int `json:"reset"`
	Unanswered  int `json:"unanswered"`
	Slow        int `json:"slow"`

	// Of the connections that were open before: see openConns.
	KeepAlive breaks `json:"keep_alive"`
	Downloads breaks `json:"downloads"`

	// Contentions is how often not exactly one host had the address, and Returned how long after the end of any of them, at most, the
	// last connection was started that the host that then had it did not answer. Of steps that are about contentions.
	Contentions int          `json:"contentions,omitempty"`
	Returned    milliseconds `json:"returned_ms,omitempty"`

	// Missed says what the daemons should have reached and did not, also after the step: the pair as it was before the fault.
	Missed string `json:"missed,omitempty"`
}

// String is the sample in one line.
func (r sample) String() string {
	text := fmt.Sprintf("%-16s outage %7.1f felt %7.1f stall %5.1f  lost %4d reset %2d unanswered %3d slow %3d  two owners %7.1f nobody %7.1f",
		r.Row, r.Outage, r.Felt, r.Stall, r.Lost, r.Reset, r.Unanswered, r.Slow, r.TwoOwners, r.Nobody)
	if r.Contentions > 0 {
		text += fmt.Sprintf("  contentions %d returned %.1f", r.Contentions, r.Returned)
	}
	if r.Missed != "" {
		text += "  (" + r.Missed + ")"
	}
	return text
}

// measure settles the pair, does a fault step by step, undoes it, and sees to it that the pair is again what it was.
func (p *pair) measure(ctx context.Context, f fault) ([]sample, error) {
	helped, err := p.comeBack(ctx)
	if err != nil {
		return nil, err
	}
	if helped != nil {
		p.remark(fmt.Sprintf("%s at %v did not begin by itself, and was started again", p.product.name(), p.interval), helped)
	}
	samples, err := p.through(ctx, f)
	if err != nil {
		return samples, err
	}
	helped, err = p.comeBack(ctx)
	if helped != nil {
		last := &samples[len(samples)-1]
		last.Missed = strings.TrimPrefix(last.Missed+"; afterwards "+helped.Error(), "; ")
		p.remark(fmt.Sprintf("%s at %v did not recover by itself after %q, and was started again", p.product.name(), p.interval, last.Row), helped)
	}
	return samples, err
}

// through goes through a fault.
func (p *pair) through(ctx context.Context, f fault) (samples []sample, err error) {
	if err := p.settle(ctx); err != nil {
		return nil, err
	}
	client := p.user.Client(netip.AddrPortFrom(vip, 80), netlab.ClientOptions{Interval: clientInterval})
	p.open = openConnections(p.user)
	defer func() {
		p.open.stop()
		p.open = nil
		err = errors.Join(err, client.Stop())
	}()
	if err := wait(ctx, warmTime); err != nil {
		return nil, err
	}
	for _, s := range f.steps {
		sample, err := p.perform(ctx, client, s)
		if err != nil {
			return samples, err
		}
		samples = append(samples, sample)
	}
	return samples, f.undo(ctx, p)
}

// perform does one step and measures until the daemons reached what they should and a while longer, or the step's bound.
func (p *pair) perform(ctx context.Context, client *netlab.Client, s step) (sample, error) {
	from := time.Now()
	before := p.open.count()
	if err := s.do(ctx, p); err != nil {
		return sample{}, err
	}
	done := time.Now()
	missed := netlab.Eventually(ctx, s.bound, s.until(p))
	if err := wait(ctx, tailTime); err != nil {
		return sample{}, err
	}
	to := time.Now()
	open := p.open.count()
	saw := client.Between(from, to)
	r := sample{Row: s.row, Daemon: p.product.name(), Interval: ms(p.interval)}
	r.KeepAlive, r.Downloads = open[0].since(before[0]), open[1].since(before[1])
	history := p.owners.History()
	r.own(history, from, to)
	if s.about == contention || s.about == rareContention {
		r.contend(history, saw)
	}
	if err := r.attempts(saw); err != nil {
		return r, err
	}
	if missed != nil {
		r.Missed = missed.Error()
	}
	if p.trace || r.exceeds() {
		p.print(s, from, done, to, saw, history)
	}
	return r, nil
}

// own fills in who had the address.
func (r *sample) own(history netlab.History, from, to time.Time) {
	r.TwoOwners = ms(history.Overlap(vip, from, to))
	r.Nobody = ms(history.Gap(vip, from, to))
	r.Moves = history.Moves(vip, from, to)
	r.Stays = len(history.Owners(vip, to)) > 1
}

// contend fills in how often hosts contended for the address, and how long the client was not on the winner afterwards. What was started
// just before the next time belongs to that.
func (r *sample) contend(history netlab.History, saw netlab.Attempts) {
	contending := false
	for _, p := range history.Periods(vip, saw.From, saw.To) {
		if len(p.Owners) != 1 {
			if !contending {
				r.Contentions++
			}
			contending = true
			continue
		}
		for _, a := range saw.List {
			if contending && a.Server != p.Owners[0] && !a.Start.Before(p.From) && a.Start.Before(p.To.Add(-netlab.Prompt)) {
				r.Returned = max(r.Returned, ms(a.Start.Sub(p.From)))
			}
		}
		contending = false
	}
}

// attempts fills in what the new connections saw. An error means that the client itself could not work.
func (r *sample) attempts(saw netlab.Attempts) error {
	r.Outage, r.Stall, r.Connections = ms(saw.Outage()), ms(saw.Stall()), len(saw.List)
	r.Felt = ms(felt(saw))
	last := saw.LastServer()
	for _, a := range saw.List {
		v := judge(a)
		switch v {
		case broken:
			return fmt.Errorf("the client could not make a connection: %w", a.Err)
		case lost:
			r.Lost++
		case reset:
			r.Reset++
		case unanswered:
			r.Unanswered++
		case slow:
			r.Slow++
		}
		if v != prompt || a.Server != last {
			r.Settled = ms(a.Start.Sub(saw.From))
		}
	}
	return nil
}

// felt is the outage without the times in which nobody tried to connect.
func felt(saw netlab.Attempts) time.Duration {
	last, tried, longest := saw.From, false, time.Duration(0)
	for _, a := range saw.List {
		if judge(a) != prompt {
			tried = true
			continue
		}
		if tried {
			longest = max(longest, a.Start.Sub(last))
		}
		last, tried = a.Start, false
	}
	if tried {
		longest = max(longest, saw.To.Sub(last))
	}
	return longest
}

// verdict is what became of one new connection.
type verdict string

const (
	prompt     verdict = "answered"
	slow       verdict = "answered late"
	lost       verdict = "refused or not established in time"
	reset      verdict = "reset while open"
	unanswered verdict = "no answer"
	broken     verdict = "not tried"
)

func judge(a netlab.Attempt) verdict {
	switch {
	case isAny(a.Err, syscall.EADDRNOTAVAIL, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS):
		return broken
	// This end had sent its first packets and the other host knows nothing of them.
	case errors.Is(a.Err, syscall.ECONNRESET):
		return reset
	case a.Established == 0 || a.Established > netlab.Prompt:
		return lost
	case a.Err != nil && strings.HasPrefix(a.Err.Error(), "read:"):
		return unanswered
	case a.Err != nil:
		return lost
	case a.Took > netlab.Prompt:
		return slow
	default:
		return prompt
	}
}
