package notify

import "slices"

// maxFormer is how many configurations are kept after they were replaced: what a reload removes lets go within seconds, and until
// then there may be some more reloads.
const maxFormer = 8

// Name is what a configuration calls an instance or a group.
type Name struct {
	Group bool
	Name  string
}

// setting is one configuration's hooks, and whom it names.
type setting struct {
	hooks []Hook
	names map[Name]bool
}

// former is a hook as an earlier configuration had it, for those who are in no later one: a reload removed them, and their last
// hook is still to run.
type former struct {
	hook  Hook
	names map[Name]bool
}

func (f former) wants(t Transition) bool {
	return t.State == Stop && f.names[Name{t.Group, t.Instance}] && f.hook.wants(t)
}

// withFormer are the hooks of the newest of some configurations, with what they, and hooks that are gone, were to whom a reload
// removed.
func withFormer(settings []setting) []Hook {
	hooks := slices.Clone(settings[0].hooks)
	known := map[Name]bool{}
	for i, s := range settings {
		gone := map[Name]bool{}
		for name := range s.names {
			if !known[name] {
				known[name], gone[name] = true, true
			}
		}
		if i == 0 || len(gone) == 0 {
			continue
		}
		for _, h := range s.hooks {
			if !slices.Contains(h.Settings.On, Stop) {
				continue
			}
			at := slices.IndexFunc(hooks, func(now Hook) bool { return now.Name == h.Name && now.PerHost == h.PerHost })
			if at < 0 {
				at = len(hooks)
				hooks = append(hooks, Hook{Name: h.Name, Kind: h.Kind, PerHost: h.PerHost})
			}
			hooks[at].former = append(hooks[at].former, former{h, gone})
		}
	}
	return hooks
}

// asFor is the hook as it is to be run for a transition: as it is, unless that is of somebody whom it served only before.
func (h Hook) asFor(t Transition) Hook {
	if h.wantsNow(t) {
		return h
	}
	for _, f := range h.former {
		if f.wants(t) {
			return f.hook
		}
	}
	return h
}

// Owes says whether a hook of an earlier configuration is still to run for what a reload removed: another program that goes on with
// the queues would not know it.
func (n *Notifier) Owes() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lanes {
		for _, h := range n.hooksOf(l.key) {
			owed := func(p pending) bool { return h.wants(p.Transition) && !h.wantsNow(p.Transition) }
			if slices.ContainsFunc(l.queue.waiting, owed) || slices.ContainsFunc(l.queue.current, owed) {
				return true
			}
		}
	}
	return false
}
