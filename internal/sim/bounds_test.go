package sim

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// maxLinger is how long an old holder serves at most although another host is master: 80 ms and half a millisecond for each of the few
// addresses here.
const maxLinger = 250 * time.Millisecond

// bounds are how long a cluster may take for what it has to do, all in one place and each with its reason. Every one of them
// holds on a calm link alone: nothing cut, lost or late, nobody stopped or frozen, the same configuration on all hosts.
type bounds struct {
	interval time.Duration // the longest Advertisement_Interval that was in force
	skew     time.Duration // Skew_Time is less than this: one interval, in VRRPv2 a second
	down     time.Duration // Master_Down_Interval is less than this
	leave    time.Duration // a leaving master waits so long for a successor
	delay    time.Duration // preempt_delay
	asks     time.Duration // a host that may not know its peers asks the link before it takes over, for so long
	v2       bool
	slack    time.Duration // kernel, late timers and the link's delay, for the few steps of a move
}

// boundsOf computes them for an instance; the interval may be a longer one that a reload replaced.
func boundsOf(i node.Instance, interval, slack time.Duration) bounds {
	i.Interval = max(i.Interval, interval)
	b := bounds{interval: i.Interval, skew: i.Interval, delay: i.PreemptDelay, slack: slack}
	b.leave = min(i.Interval+100*time.Millisecond, 5*time.Second)
	if byName(&i) {
		b.asks = probeTime
	}
	if i.Version == vrrp.V2 {
		b.v2, b.skew, b.leave = true, time.Second, 1100*time.Millisecond
	}
	b.down = time.Duration(i.DeadAdverts)*i.Interval + b.skew
	return b
}

// boundsOfGroup computes them for instances with one fate. They are weaker than those of a fast instance alone: whoever is to rise
// waits on every link, so that the slowest one's hold for all; and a cut on one link moves the whole group, so that all links must be
// calm. Beyond that a group owes what an instance owes. Who may not know its peers waits while somebody answers on any link: of a host that falls
// out on one link, what it has on the others goes on serving until nobody took it over at its second try.
func boundsOfGroup(instances []node.Instance, interval, slack time.Duration) bounds {
	b := boundsOf(slowestOf(instances), interval, slack)
	for _, i := range instances {
		b.delay = max(b.delay, i.PreemptDelay)
	}
	if b.asks > 0 {
		b.asks += b.leave + max(b.leave, b.down)
	}
	return b
}

// TestGroupsThatAskMayWait holds that only a group whose peers have names may wait for what answers on another link.
func TestGroupsThatAskMayWait(t *testing.T) {
	web := node.Instance{Name: "web", Version: vrrp.V3, Interval: 100 * time.Millisecond, DeadAdverts: 3, Peers: everyHost(2, 0, false)}
	alone := boundsOf(web, 0, 0)
	if got := boundsOfGroup([]node.Instance{web, web}, 0, 0); got != alone {
		t.Errorf("a group owes %+v, want what an instance owes, %+v", got, alone)
	}
	web.Peers = everyHost(2, 0, true)
	alone = boundsOf(web, 0, 0)
	got, more := boundsOfGroup([]node.Instance{web, web}, 0, 0), 200*time.Millisecond+400*time.Millisecond // both tries
	if alone.asks != probeTime || got.asks != probeTime+more {
		t.Errorf("one that asks the link may wait for %s, want %s, and a group for %s, want %s", alone.asks, probeTime, got.asks, probeTime+more)
	}
}

// drift makes room for clocks that run apart.
func (b bounds) drift(d time.Duration) time.Duration { return d + d/500 + b.slack }

// overlap is how long two hosts may have an address: the lower master hears the higher one within an interval, and lingers.
// One that leaves waits for its successor before it says or hears more; where all are unhealthy it does so twice.
func (b bounds) overlap(leaves bool) time.Duration {
	if leaves {
		return b.drift(b.interval + 2*b.leave + maxLinger)
	}
	return b.drift(b.interval + maxLinger)
}

// prompt is how long a handover takes that nothing disturbs: the backup learned an interval of one centisecond, so that its
// skew is less than that, in VRRPv2 less than a second.
func (b bounds) prompt() time.Duration {
	if b.v2 {
		return b.drift(b.skew)
	}
	return b.drift(10 * time.Millisecond)
}

// idle is how long a healthy backup may look on while an unhealthy host has the address. It follows that host, and jumps after
// its skew; or it still follows another that is gone, and waits for that one's Master_Down_Interval.
func (b bounds) idle() time.Duration { return b.drift(b.down) }

// gap is how long nobody may have an address while a healthy backup is there: its timer. It may follow a master that rose
// and died unseen, which is one interval more. Or it was the last master itself, and woke late: then it listens. It may ask the link first.
func (b bounds) gap() time.Duration {
	return b.drift(b.interval + max(b.down, 100*time.Millisecond) + b.asks)
}

// silence is how long a last resort waits: its Master_Down_Interval, never less than an interval and 200 ms, and the probe.
func (b bounds) silence() time.Duration {
	return b.drift(max(b.down, b.interval+200*time.Millisecond) + 100*time.Millisecond)
}

// rest is after which time an address no longer moves among hosts that are all unhealthy: silence is noticed, and whoever is
// leaving has waited twice.
func (b bounds) rest() time.Duration { return b.silence() + b.drift(2*b.leave+200*time.Millisecond) }

// converge is how long the best host, of that priority, needs from when it, or a better one, became eligible. It hears its master within an
// interval and waits for its skew, or hears lower adverts of a master that it does not follow and waits for its
// Master_Down_Interval; a leaving master takes up to 200 ms to be heard again. With a preempt_delay that comes on top: it
// counts from when the host became eligible.
//
// Without preemption the bound is the same, and weaker in what it says: some healthy host is master, and stays. Which one
// depends on who was first; two masters that did not hear each other are one as soon as the higher one is heard.
//
// Where all are unhealthy, one of them is master after rest, and stays.
func (b bounds) converge(priority uint8) time.Duration {
	down := b.down - b.skew + b.skew*time.Duration(256-int(priority))/256
	return b.drift(down + b.interval + 200*time.Millisecond + b.delay)
}

// wakes is how much longer it takes where a host has just stood still: it notices with its next advert, and listens before it waits as any
// other, if a lower one is master by then.
func (b bounds) wakes() time.Duration { return b.drift(b.interval + 100*time.Millisecond) }

// keeps is how long a host whose instance gets another VRID keeps the addresses of the old one at most: until the timer of the new one
// is over, which may ask the link before and after.
func (b bounds) keeps() time.Duration { return b.drift(b.down + 700*time.Millisecond) }

// recovers is how long a host may need to take part again that nothing is wrong with any more, but for its link_delay: it may be leaving
// still, for what is over by now. An instance that joins the others of its group, which serve, listens for an interval, and where it hears a
// better master, for as long as that one counts.
func (b bounds) recovers(grouped bool) time.Duration {
	if grouped {
		return b.drift(b.leave + b.interval + b.down + time.Second)
	}
	return b.drift(b.leave + time.Second)
}

// listens is how much longer than its Master_Down_Interval a backup waits that was master and woke late.
func (b bounds) listens() time.Duration { return max(b.interval+100*time.Millisecond-b.down, 0) }

// holds is how long a host may have addresses after a state that allows it. What its process asked for takes the kernel its
// time. A backup lingers; when its successor gives up without having served it goes on until its own timer decides.
func (b bounds) holds(s node.State, successorGaveUp bool) time.Duration {
	switch {
	case s != node.Backup:
		return b.slack
	case successorGaveUp:
		return b.silence() + 2*maxLinger + b.slack
	default:
		return maxLinger + b.slack
	}
}
