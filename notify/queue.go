package notify

import "slices"

// pending is a transition whose hooks have not all run yet.
type pending struct {
	Transition
	skipped int // older transitions of the instance that were coalesced into this one
}

// queue is the transitions of one instance, or for the hooks that serve the whole host those of all instances. It only
// decides what comes next. Its length is bounded: one running and one waiting transition for each instance.
type queue struct {
	waiting []pending // the latest transition of each instance, the oldest first
	current []pending // those whose hooks are being run
	left    []string  // the hooks still to be considered for current, in the order of the configuration
}

// put adds a transition. One of the same instance that still waits is coalesced into it.
func (q *queue) put(t Transition, hooks []Hook) {
	p := pending{Transition: t}
	if i := indexOf(q.waiting, t.subject()); i >= 0 {
		p.coalesce(q.waiting[i], anyWants(hooks, q.waiting[i].Transition))
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	q.waiting = append(q.waiting, p)
}

// coalesce takes the place of an older transition that no hook has seen.
func (p *pending) coalesce(old pending, wanted bool) {
	p.Previous = old.Previous
	p.Reassert = p.Reassert && old.Reassert
	p.skipped += old.skipped
	if wanted {
		p.skipped++
	}
}

// next gives the next hook to run and the transitions to run it for; false when there is nothing left to do. hooks are
// those of today's configuration: a hook that a reload removed is not run any more, one that it added waits for the
// next transition.
func (q *queue) next(hooks []Hook) (Hook, []pending, bool) {
	for {
		q.supersede(hooks)
		if len(q.current) == 0 {
			if len(q.waiting) == 0 {
				*q = queue{}
				return Hook{}, nil, false
			}
			q.current, q.waiting = q.waiting, nil
			q.left = namesOf(hooks)
		}
		for len(q.left) > 0 {
			name := q.left[0]
			q.left = q.left[1:]
			i := slices.IndexFunc(hooks, func(h Hook) bool { return h.Name == name })
			if i < 0 {
				continue
			}
			if batch := wantedBy(hooks[i], q.current); len(batch) > 0 {
				return hooks[i], batch, true
			}
		}
		q.current = nil
	}
}

// supersede drops from the current transitions those whose instance has a newer one.
func (q *queue) supersede(hooks []Hook) {
	rest := q.remaining(hooks)
	q.current = slices.DeleteFunc(q.current, func(old pending) bool {
		i := indexOf(q.waiting, old.subject())
		if i >= 0 && anyWants(rest, old.Transition) {
			q.waiting[i].skipped++
		}
		return i >= 0
	})
}

// remaining lists the hooks that the current transitions have not come to yet.
func (q *queue) remaining(hooks []Hook) []Hook {
	var rest []Hook
	for _, h := range hooks {
		if slices.Contains(q.left, h.Name) {
			rest = append(rest, h)
		}
	}
	return rest
}

// job is one hook and a transition that it is to be run for, or would have been.
type job struct {
	hook Hook
	pending
}

// drop removes every transition that gone says is not to be told any more, and lists the runs that are lost by it.
func (q *queue) drop(hooks []Hook, gone func(Transition) bool) []job {
	q.supersede(hooks)
	lost := lostJobs(q.remaining(hooks), q.current, gone)
	lost = append(lost, lostJobs(hooks, q.waiting, gone)...)
	matches := func(p pending) bool { return gone(p.Transition) }
	q.current = slices.DeleteFunc(q.current, matches)
	q.waiting = slices.DeleteFunc(q.waiting, matches)
	return lost
}

func lostJobs(hooks []Hook, from []pending, gone func(Transition) bool) []job {
	var jobs []job
	for _, p := range from {
		for _, h := range hooks {
			if gone(p.Transition) && h.wants(p.Transition) {
				jobs = append(jobs, job{hook: h, pending: p})
			}
		}
	}
	return jobs
}

// waitsFor says whether a transition to the state waits that a hook wants.
func (q *queue) waitsFor(state State, hooks []Hook) bool {
	return slices.ContainsFunc(q.waiting, func(p pending) bool {
		return p.State == state && anyWants(hooks, p.Transition)
	})
}

func wantedBy(h Hook, from []pending) []pending {
	var batch []pending
	for _, p := range from {
		if h.wants(p.Transition) {
			batch = append(batch, p)
		}
	}
	return batch
}

func anyWants(hooks []Hook, t Transition) bool {
	return slices.ContainsFunc(hooks, func(h Hook) bool { return h.wants(t) })
}

func indexOf(list []pending, s subject) int {
	return slices.IndexFunc(list, func(p pending) bool { return p.subject() == s })
}

func namesOf(hooks []Hook) []string {
	names := make([]string, 0, len(hooks))
	for _, h := range hooks {
		names = append(names, h.Name)
	}
	return names
}
