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
func (v *view) prove(rivals func(*instance) ([]rival, bool)) findings {
	var found findings
	for i := range v.instances {
		in := &v.instances[i]
		if !in.sound {
			continue
		}
		// A host of which the file says other than what it gives it runs another file.
		if own := in.expectOf(v.config.Node).priority; own != 0 && own != int(in.Priority) {
			continue
		}
		others, ok := rivals(in)
		if !ok {
			continue
		}
		for _, c := range v.checks {
			if e, ok := in.Checks[c.Name]; !ok || e.OnFailure != node.Weigh || !c.block.sound() || in.Priority == maxPriority || !in.Preempt {
				continue
			}
			if len(others) == 0 {
				found.warnf(c.block.place("weight"), fmt.Sprintf("write expect \"HOST\" { priority = ... } in instance %q, or leave weight out", in.Name),
					"nothing shows that the weight of check %q moves %q", c.Name, in.Name)
				continue
			}
			found.proveWeight(in, c, others)
		}
		found.proveOrder(in, v.config.Node, others)
	}
	return found
}

// proveWeight tries one check that fails on a host whose rivals are healthy.
func (fs *findings) proveWeight(in *instance, c check, others []rival) {
	sum, now := effective(&in.Instance, c.Name)
	best := slices.MaxFunc(others, func(a, b rival) int { return a.priority - b.priority })
	worst := slices.MinFunc(others, func(a, b rival) int { return a.priority - b.priority })
	at := c.block.place("weight")
	switch {
	case now >= best.priority:
		fs.errorf(at, remedy(c, sum, best), "check %q (%+d) cannot move %q: %s %s", c.Name, c.Effect.Weight, in.Name,
			arithmetic(c, sum, now), comparison(now, best))
	case now >= worst.priority:
		fs.warnf(at, remedy(c, sum, worst), "check %q (%+d) cannot move %q to %s where only that host is healthy: %s %s",
			c.Name, c.Effect.Weight, in.Name, worst.node, arithmetic(c, sum, now), comparison(now, worst))
	}
}

// arithmetic shows how the priority comes about: "150-20 = 130".
func arithmetic(c check, sum, now int) string {
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
func remedy(c check, sum int, r rival) string {
	enough := r.priority - (sum - c.Effect.Weight)
	if c.Effect.Weight > 0 {
		return fmt.Sprintf("lower the priority or leave weight out: it must be below %d while the check fails", r.priority)
	}
	if enough <= -maxWeight || r.priority <= minEffective {
		return "leave weight out"
	}
	return fmt.Sprintf("use a weight below %d or leave weight out", enough)
}

// proveOrder warns of two hosts that the priority does not tell apart.
func (fs *findings) proveOrder(in *instance, self string, others []rival) {
	_, mine := effective(&in.Instance, "")
	for _, r := range others {
		if r.priority == mine {
			hosts := []string{self, r.node}
			slices.Sort(hosts)
			fs.warnf(in.block.place("priority"), "give them different ones, or the host with the higher address is preferred",
				"%q has the same priority, %d, on %s and %s", in.Name, mine, hosts[0], hosts[1])
		}
	}
}

// compare reports what two hosts that run the same instance must not see differently.
func compare(a, b *view) findings {
	var found findings
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
