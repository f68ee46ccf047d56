package vrrp

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// step feeds one event to both machines and holds every invariant.
func (r *run) step(ev Event) {
	r.t.Helper()
	r.previous = append(r.previous, fmt.Sprintf("%s %s %T%+v", r.now.Format("15:04:05.000000"), r.m.State(), ev, ev))
	before := *r.m
	actions := r.m.Step(r.now, ev)
	if twin := r.twin.Step(r.now, ev); !reflect.DeepEqual(actions, twin) || !reflect.DeepEqual(r.m, r.twin) {
		r.fail("the same inputs gave other outputs: %v and %v", actions, twin)
	}
	r.checkDeadline()
	r.checkActions(&before, ev, actions)
	switch ev := ev.(type) {
	case Elapsed:
		if due, ok := before.Deadline(); (!ok || r.now.Before(due)) && (len(actions) > 0 || !reflect.DeepEqual(before, *r.m)) {
			r.fail("an Elapsed before its time did something: %v", actions)
		}
	case Heard:
		if before.state == Backup {
			r.checkBackupHeard(&before, ev)
		}
	case Early:
		r.checkEarly(&before, actions)
	}
}

func (r *run) fail(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("%s\nafter:\n%s\nnow: %+v", fmt.Sprintf(format, args...), strings.Join(r.previous, "\n"), *r.m)
}

// checkDeadline: a router that waits has a deadline, one that does not has none, and none is ever far away.
func (r *run) checkDeadline() {
	r.t.Helper()
	deadline, ok := r.m.Deadline()
	_, why, ready := r.m.Ready()
	var bound time.Duration
	switch r.m.State() {
	case Initialize:
		if ok {
			r.fail("init has a deadline")
		}
	case Backup:
		if ok == ready || ready && why == "" {
			r.fail("a backup waits or is ready with a reason: deadline %t, ready %t (%q)", ok, ready, why)
		}
		// The Master_Down_Interval of the longest interval that anybody spoke of, its skew, and the last resort's margin.
		bound = 3*r.widest + max(r.widest, time.Second) + lastResortMargin
	case Master:
		if !ok {
			r.fail("a master has no deadline")
		}
		bound = r.m.Config().Interval
	case Leaving:
		if ok != (r.m.repeats > 0) {
			r.fail("%d repeats to send, deadline %t", r.m.repeats, ok)
		}
		bound = releaseGap
	}
	if ok && deadline.Sub(r.now) > bound {
		r.fail("the deadline is %s away, more than %s", deadline.Sub(r.now), bound)
	}
}

// checkActions: adverts come only from a master, one that becomes it, or one that leaves; every change of the state is told,
// once, with a reason; every advert can be marshalled.
func (r *run) checkActions(before *Machine, ev Event, actions []Action) {
	r.t.Helper()
	var sends, entered int
	for _, a := range actions {
		switch a := a.(type) {
		case Send:
			sends++
			if _, err := a.Advert.Append(nil, source4, GroupIPv4, ChecksumPseudoHeader); err != nil {
				r.fail("sends what the wire cannot carry: %v", err)
			}
			if !a.Until.After(r.now) {
				r.fail("sends what is stale already: %s", a.Until)
			}
			r.checkSend(before, ev, a)
		case Entered:
			entered++
			if a.From != before.state || a.To != r.m.State() || a.From == a.To || a.Why == "" {
				r.fail("entered %s from %s (%q), was %s", a.To, a.From, a.Why, before.state)
			}
		case Contended:
			if before.state != Master {
				r.fail("contended in %s", before.state)
			}
		}
	}
	if changed := before.state != r.m.State(); changed != (entered == 1) || entered > 1 {
		r.fail("the state went from %s to %s, told %d times", before.state, r.m.State(), entered)
	}
	if rises := before.state != Master && r.m.State() == Master; rises {
		if _, first := actions[0].(Send); sends != 1 || !first {
			r.fail("a new master sends one advert before all else: %v", actions)
		}
	}
	if most := 2; sends > most {
		r.fail("%d adverts at once", sends)
	}
}

func isHeard(ev Event) bool {
	switch ev.(type) {
	case Heard, Early:
		return true
	default:
		return false
	}
}

// checkSend says who may send what.
func (r *run) checkSend(before *Machine, ev Event, s Send) {
	r.t.Helper()
	if _, leaves := ev.(Leave); leaves {
		r.repeats = 0
	}
	switch to := r.m.State(); {
	case to == Master && s.Advert.Priority == r.m.priority && s.Advert.Interval == r.m.cfg.Interval:
	case before.state == Master && to == Backup && isHeard(ev) && s.Advert.Priority == before.priority:
		// The last word of a master that steps down for a better one.
	case before.state == Master && to == Initialize && s.Advert.Priority == PriorityRelease:
	case to == Leaving && (before.state == Leaving || before.state == Master):
		switch ev.(type) {
		case Leave:
		case Elapsed:
			if r.repeats++; r.repeats > releaseRepeats || s.Advert.Priority != PriorityRelease {
				r.fail("a leaving master sends %s as repeat %d", s.Advert, r.repeats)
			}
		default:
			r.fail("a leaving master answers %T with %s", ev, s.Advert)
		}
	default:
		r.fail("from %s to %s it sends %s", before.state, to, s.Advert)
	}
}

// checkBackupHeard: an accepted advert starts a full wait, a discarded one never lengthens the wait, and priority 0 leaves
// it alone or makes it the skew, or what is left of the full wait where that is less.
func (r *run) checkBackupHeard(before *Machine, ev Heard) {
	r.t.Helper()
	was, waited := before.Deadline()
	is, waits := r.m.Deadline()
	same := waited == waits && was.Equal(is)
	switch {
	case ev.Advert.Priority == PriorityRelease:
		skew := before.cfg.skew(before.priority, before.learned)
		if before.lastResort() {
			skew = before.cfg.skew(PriorityIll, centisecond)
		}
		stranger := before.followed.Address.IsValid() && before.followed.Address != ev.From
		down := later(r.now, before.heard.Add(before.masterDown()))
		if !same && (stranger || !is.Equal(r.now.Add(skew)) && !(is.Equal(down) && is.Before(r.now.Add(skew)))) {
			r.fail("priority 0 moved the wait from %s to %s, the skew is %s", was, is, skew)
		}
	case before.listening():
		if is.Before(r.now) || !waits {
			r.fail("a late waker heard an advert and does not wait")
		}
	case before.preemptable(r.now, ev.Advert.Priority):
		if waited != waits || is.After(was) {
			r.fail("a discarded advert moved the wait from %s to %s", was, is)
		}
	default:
		if want := r.now.Add(r.m.masterDown()); !waits || !is.Equal(want) {
			r.fail("an accepted advert made the wait %s, want %s", is, want)
		}
	}
}

// checkEarly: what may be an old advert never makes a router rise, or sooner, and moves no healthy master.
func (r *run) checkEarly(before *Machine, actions []Action) {
	r.t.Helper()
	was, _ := before.Deadline()
	is, waits := r.m.Deadline()
	switch before.state {
	case Initialize:
		if len(actions) > 0 || r.m.state != Initialize {
			r.fail("an early advert began something")
		}
	case Backup:
		if len(actions) > 0 || r.m.state != Backup || waits && is.Before(was) && !before.listening() || r.m.ready != nil && before.ready == nil {
			r.fail("an early advert moved a backup: the wait from %s to %s", was, is)
		}
		if moving := before.pending.why != "" && before.pending.cause != Silence; moving && !reflect.DeepEqual(before, r.m) {
			r.fail("an early advert ended a handover")
		}
	case Master:
		if before.priority != PriorityIll && !reflect.DeepEqual(before, r.m) {
			r.fail("an early advert moved a master")
		}
	case Leaving:
		if r.m.state == Master {
			r.fail("an early advert made a leaving router master")
		}
	}
}
