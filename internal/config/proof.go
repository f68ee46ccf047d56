package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/understudy-ha/understudy/internal/node"
)

// rival is another host of an instance, while it is healthy.
type rival struct {
	node     string
	priority int
}

// prove shows for each instance that a failing check moves the address to a healthy host. A check that yields or releases
// always does; one with a weight must bring the priority below the rival's, since a backup with an equal one stays. Only
// one check at a time has to be tried: every further one that fails lowers the priority more.
//
// A group is proved as one: any of its instances' checks yields or weighs for all, and its priority is the lowest of theirs.
func (v *view) prove(rivals func(*instance) ([]rival, bool)) findings {
	var found findings
	for _, f := range v.fates() {
		others, ok := f.rivals(v.config.Node, rivals)
		if !ok {
			continue
		}
		for _, c := range v.checks {
			if !f.weighs(c) {
				continue
			}
			if len(others) == 0 {
				found.warnf(c.block.place("weight"), fmt.Sprintf("write expect \"HOST\" { priority = ... } in instance %q, or leave weight out", f.instances[0].Name),
					"nothing shows that the weight of check %q moves %s", c.Name, f.title)
				continue
			}
			found.proveWeight(f, c, others)
		}
		found.proveOrder(f, v.config.Node, others)
	}
	return found
}

// fate is what moves as one: a group, or an instance that is in none.
type fate struct {
	title     string
	instances []*instance
}

// fates lists those whose instances are all sound.
func (v *view) fates() (fates []fate) {
	byName := map[string]*instance{}
	for i := range v.instances {
		byName[v.instances[i].Name] = &v.instances[i]
	}
	for _, g := range v.groups {
		f := fate{title: fmt.Sprintf("group %q", g.Name)}
		for _, name := range g.Instances {
			if in := byName[name]; in != nil {
				f.instances = append(f.instances, in)
			}
			delete(byName, name)
		}
		fates = append(fates, f)
	}
	for i := range v.instances {
		if in := &v.instances[i]; byName[in.Name] == in {
			fates = append(fates, fate{fmt.Sprintf("%q", in.Name), []*instance{in}})
		}
	}
	return slices.DeleteFunc(fates, func(f fate) bool {
		return len(f.instances) == 0 || slices.ContainsFunc(f.instances, func(in *instance) bool { return !in.sound })
	})
}

// rivals are those of all instances; a host that is a rival of several has the lowest priority of them.
func (f fate) rivals(self string, of func(*instance) ([]rival, bool)) (all []rival, ok bool) {
	for _, in := range f.instances {
		// A host of which the file says other than what it gives it runs another file.
		if own := in.expectOf(self).priority; own != 0 && own != int(in.Priority) {
			return nil, false
		}
		others, ok := of(in)
		if !ok {
			return nil, false
		}
		for _, r := range others {
			if at := slices.IndexFunc(all, func(x rival) bool { return x.node == r.node }); at >= 0 {
				all[at].priority = min(all[at].priority, r.priority)
			} else {
				all = append(all, r)
			}
		}
	}
	return all, true
}

// weighs says whether the check's weight is to move the fate.
func (f fate) weighs(c check) bool {
	return c.block.sound() && slices.ContainsFunc(f.instances, func(in *instance) bool {
		e, ok := in.Checks[c.Name]
		return ok && e.OnFailure == node.Weigh && in.Priority != maxPriority && in.Preempt
	})
}

// effective is the lowest priority of the instances while one check fails, and whose it is.
func (f fate) effective(failing string) (of *instance, sum, clamped int) {
	for _, in := range f.instances {
		if s, c := effective(&in.Instance, failing); of == nil || c < clamped {
			of, sum, clamped = in, s, c
		}
	}
	return of, sum, clamped
}

// proveWeight tries one check that fails on a host whose rivals are healthy.
func (fs *findings) proveWeight(f fate, c check, others []rival) {
	in, sum, now := f.effective(c.Name)
	best := slices.MaxFunc(others, func(a, b rival) int { return a.priority - b.priority })
	worst := slices.MinFunc(others, func(a, b rival) int { return a.priority - b.priority })
	at := c.block.place("weight")
	switch {
	case now >= best.priority:
		fs.errorf(at, remedy(in, c, sum, best), "check %q (%+d) cannot move %s: %s %s", c.Name, c.Effect.Weight, f.title,
			arithmetic(in, c, sum, now), comparison(now, best))
	case now >= worst.priority:
		fs.warnf(at, remedy(in, c, sum, worst), "check %q (%+d) cannot move %s to %s where only that host is healthy: %s %s",
			c.Name, c.Effect.Weight, f.title, worst.node, arithmetic(in, c, sum, now), comparison(now, worst))
	}
}

// arithmetic shows how the priority comes about: "150-20 = 130".
func arithmetic(in *instance, c check, sum, now int) string {
	if _, ok := in.Checks[c.Name]; !ok {
		return fmt.Sprintf("instance %q, which it does not apply to, has the lowest priority, and that", in.Name)
	}
	text := fmt.Sprintf("without its %+d, %d", c.Effect.Weight, sum)
	if c.Effect.Weight < 0 {
		text = fmt.Sprintf("%d%+d = %d", sum-c.Effect.Weight, c.Effect.Weight, sum)
	}
	if now != sum {
		text += fmt.Sprintf(", clamped to %d,", now)
	}
	return text
}

func comparison(now int, r rival) string {
	if now == r.priority {
		return fmt.Sprintf("is not below %s's %d", r.node, r.priority)
	}
	return fmt.Sprintf("is above %s's %d", r.node, r.priority)
}

// remedy says which weight would do, if one would.
func remedy(in *instance, c check, sum int, r rival) string {
	if _, ok := in.Checks[c.Name]; !ok {
		return fmt.Sprintf("give instance %q the check too, or leave weight out", in.Name)
	}
	enough := r.priority - (sum - c.Effect.Weight)
	if c.Effect.Weight > 0 {
		return fmt.Sprintf("lower the priority or leave weight out: it must be below %d while the check fails", r.priority)
	}
	if enough <= -maxWeight || r.priority <= minPriority {
		return "leave weight out"
	}
	return fmt.Sprintf("use a weight below %d or leave weight out", enough)
}

// proveOrder warns of two hosts that the priority does not tell apart.
func (fs *findings) proveOrder(f fate, self string, others []rival) {
	in, _, mine := f.effective("")
	for _, r := range others {
		if r.priority == mine {
			hosts := []string{self, r.node}
			slices.Sort(hosts)
			fs.warnf(in.block.place("priority"), "give them different ones, or the host with the higher address is preferred",
				"%s has the same priority, %d, on %s and %s", f.title, mine, hosts[0], hosts[1])
		}
	}
}

// compare reports what two hosts that run the same instance must not see differently.
func compare(a, b *view) findings {
	found := compareGroups(a, b)
	for i := range a.instances {
		x := &a.instances[i]
		j := slices.IndexFunc(b.instances, func(in instance) bool { return in.Name == x.Name })
		if j < 0 || !x.sound || !b.instances[j].sound {
			continue
		}
		y := &b.instances[j]
		differ := func(key string, severity Severity, left, right any, why string) {
			if fmt.Sprint(left) != fmt.Sprint(right) {
				found = append(found, Finding{
					Severity: severity, Range: x.block.place(key), Detail: why,
					Summary: fmt.Sprintf("%s of %q is %v on %s and %v on %s", key, x.Name, left, a.config.Node, right, b.config.Node),
				})
			}
		}
		differ("vrid", Error, x.VRID, y.VRID, "hosts with different ones do not hear each other")
		differ("peers", Error, howHeard(x), howHeard(y), "a host that has them does not hear one that multicasts, nor the other way round")
		found = append(append(found, unheard(a, b, x, y)...), unheard(b, a, y, x)...)
		differ("version", Error, x.Version, y.Version, "hosts with different ones do not hear each other")
		differ("addresses", Error, addressSet(x.Addresses), addressSet(y.Addresses), "an address that another host lacks cannot move there")
		differ("unadvertised", Warning, addressSet(x.Unadvertised), addressSet(y.Unadvertised), "an address that another host lacks cannot move there")
		severity, why := Warning, "a backup learns the master's interval, but the time of a failover depends on who is master"
		if x.Version == 2 {
			severity, why = Error, "hosts with different ones drop each other's adverts in VRRPv2"
		}
		differ("advertise_interval", severity, x.Interval, y.Interval, why)
	}
	return found
}

func addressSet(addrs []node.Address) []string {
	set := map[string]bool{}
	for _, a := range addrs {
		set[a.IP.String()] = true
	}
	return slices.Sorted(maps.Keys(set))
}
