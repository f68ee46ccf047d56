package node

import (
	"net/netip"
	"slices"
	"time"
)

// staleAnnouncement is how late a round of announcements may leave the host.
const staleAnnouncement = 500 * time.Millisecond

// Bounds of the answers to another host's announcements: clients follow whoever spoke last, so the master has the last word;
// but where two masters do not hear each other's adverts they must not make the clients flap for ever.
const (
	answerGap  = 20 * time.Millisecond
	maxAnswers = 8
)

// restartGap bounds how often contention starts the announcements again.
const restartGap = 100 * time.Millisecond

// rounds are when each address is announced after it was set. Their gaps exceed what neighbours ignore: Linux's locktime
// is a second.
var rounds = []time.Duration{0, 100 * time.Millisecond, 1100 * time.Millisecond, 5 * time.Second}

// announcer plans an instance's announcements: rounds, each of which queues every address, and a pace between addresses.
type announcer struct {
	cfg     Announcing
	began   time.Time // zero: stopped
	round   int       // how many rounds have been queued
	next    time.Time // the next round
	queue   []netip.Addr
	emitted time.Time // the last address that left the queue
	silent  bool      // no address has been announced since they were taken

	answer  time.Time // an extra round, in answer to another host's announcement
	answers int       // how many there were in this contention
	hushed  time.Time // until then nothing is announced: another router has, whose advert may follow
}

// reconfigure takes another pace or refresh. Once all rounds are made the next refresh follows the new one.
func (a *announcer) reconfigure(now time.Time, cfg Announcing) {
	was := a.cfg
	a.cfg = cfg
	if was.Refresh == cfg.Refresh || a.began.IsZero() || a.round < len(rounds) {
		return
	}
	a.next = time.Time{}
	if cfg.Refresh > 0 {
		a.next = now
		if next := a.emitted.Add(cfg.Refresh); next.After(now) {
			a.next = next
		}
	}
}

// start begins with the first round at once.
func (a *announcer) start(now time.Time) {
	a.began, a.round, a.next, a.hushed = now, 0, now, time.Time{}
}

// proceed goes on where all rounds were made before a stop.
func (a *announcer) proceed(now time.Time) {
	a.began, a.round, a.next = now, len(rounds), time.Time{}
	if a.cfg.Refresh > 0 {
		a.next = now.Add(a.cfg.Refresh)
	}
}

// restart begins again, if announcements are being made at all and did not just begin.
func (a *announcer) restart(now time.Time) {
	a.hushed = time.Time{} // the other one's advert has come, and was a lesser one
	if !a.began.IsZero() && now.Sub(a.began) >= restartGap {
		a.start(now)
	}
}

// contradict announces once more, soon, but nothing before an instant: another host was seen to announce or answer.
func (a *announcer) contradict(earliest time.Time) {
	if a.began.IsZero() || !a.answer.IsZero() || a.answers >= maxAnswers {
		return
	}
	a.answers++
	a.answer, a.hushed = earliest, earliest
	// Ever later: two that answer each other must not use up their answers before one of them has stepped down.
	if next := a.emitted.Add(answerGap << (a.answers - 1)); next.After(earliest) {
		a.answer = next
	}
}

// stop drops what is queued.
func (a *announcer) stop() {
	*a = announcer{cfg: a.cfg, emitted: a.emitted, answers: a.answers, silent: a.silent}
}

// deadline is when take has something to give.
func (a *announcer) deadline() time.Time {
	d := earliest(a.next, a.answer)
	if len(a.queue) > 0 {
		d = earliest(d, a.emitted.Add(a.cfg.Interval))
	}
	if !d.IsZero() && d.Before(a.hushed) {
		return a.hushed
	}
	return d
}

// take returns the addresses that are to be announced now: all that are queued, or one at a time where a pace is set.
func (a *announcer) take(now time.Time, ips []netip.Addr) []netip.Addr {
	if now.Before(a.hushed) {
		return nil
	}
	if due(now, a.answer) {
		a.answer = time.Time{}
		a.enqueue(ips)
	}
	if due(now, a.next) {
		a.plan(now, ips)
	}
	if len(a.queue) == 0 {
		return nil
	}
	if a.cfg.Interval == 0 {
		out := a.queue
		a.queue, a.emitted, a.silent = nil, now, false
		return out
	}
	if now.Before(a.emitted.Add(a.cfg.Interval)) {
		return nil
	}
	out := a.queue[:1:1]
	a.queue, a.emitted, a.silent = a.queue[1:], now, false
	return out
}

// enqueue queues every address that does not wait already: those that do go first, and where the pace is slower than the rounds
// none goes twice while another waits.
func (a *announcer) enqueue(ips []netip.Addr) {
	waiting := a.queue
	for _, ip := range ips {
		if !slices.Contains(waiting, ip) {
			a.queue = append(a.queue, ip)
		}
	}
}

// plan queues a round, and says when the next one is.
func (a *announcer) plan(now time.Time, ips []netip.Addr) {
	a.enqueue(ips)
	a.round++
	switch {
	case a.round < len(rounds):
		a.next = a.began.Add(rounds[a.round])
	case a.cfg.Refresh > 0:
		a.next = now.Add(a.cfg.Refresh)
	default:
		a.next = time.Time{}
	}
}
