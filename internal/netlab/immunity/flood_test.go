package immunity

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

const (
	settleBound = 20 * time.Second
	// fullRate is what is asked for, leastRate what must come of it on the average, also where two processors do everything:
	// the flooder, the switch, both daemons and their kernels. In packets a second.
	fullRate, leastRate = 50_000, 20_000
	// calm is for how long a flood is looked at before the master is cut off, and lasts how long it goes on in all.
	calm  = 2 * time.Second
	lasts = 5 * time.Second
	// down is Master_Down_Interval of lb2, with priority 100: three intervals and a skew.
	down = 3*interval + interval*156/256
)

// group is a pair with one configuration, and what floods it.
type group struct {
	name, instance string
	kinds          []kind
}

// groups are a pair without authentication, and one with, for what only keys can tell apart.
var groups = []group{
	{"without authentication", "", kinds},
	{"with authentication", `auth {
    active = 1
    key "1" {
      file = "LAB/${hostname}/key"
    }
  }`, signedKinds},
}

// TestFlood tells of a stranger who floods a pair: the master stays master and keeps its beat, the backup stays backup, and when
// the master is cut off meanwhile the backup takes over as if there were no flood.
func TestFlood(t *testing.T) {
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			c := pair(t, g.instance)
			evil := labtest.Host(t, c.Lab, "evil", "10.0.0.66/24")
			beats := watch(t, c)
			t.Run("none", func(t *testing.T) { cutOff(t, c) })
			var rates []int
			for _, k := range g.kinds {
				t.Run(k.name, func(t *testing.T) { rates = append(rates, endure(t, c, evil, beats, k)) })
			}
			total := 0
			for _, r := range rates {
				total += r
			}
			if average := total / max(len(rates), 1); average < leastRate {
				t.Errorf("the floods had %d packets a second on the average, want %d", average, leastRate)
			}
		})
	}
}

// pair is lb1, which is master, and lb2.
func pair(t *testing.T, instance string) *pairtest.Cluster {
	t.Helper()
	c := pairtest.New(t, pairtest.Shape{
		Program: program, Hosts: []string{"lb1", "lb2"}, VIPs: map[string]time.Duration{vip.String(): 0},
		Config: fmt.Sprintf(`
instance "web" {
  interface          = "eth0"
  vrid               = %d
  priority           = { lb1 = 150, lb2 = 100 }[hostname]
  addresses          = [%q]
  advertise_interval = %q
  %s
}
`, vrid, vip, interval, instance),
	})
	for _, h := range c.Hosts {
		if err := os.WriteFile(filepath.Join(h.Dir(), "key"), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
		h.Start(t)
	}
	settled(t, c)
	return c
}

// settled waits until lb1 is master and lb2 its backup.
func settled(t *testing.T, c *pairtest.Cluster) {
	t.Helper()
	c.Only(t, "lb1", settleBound)
	for name, want := range map[string]node.State{"lb1": node.Master, "lb2": node.Backup} {
		labtest.Eventually(t, settleBound, func() (bool, string) {
			i, err := web(t, c.Get(name))
			if err != nil {
				return false, err.Error()
			}
			return i.State == want, fmt.Sprintf("%s is %s: %s", name, i.State, i.Why)
		})
	}
}

// web is the instance as a host's daemon reports it.
func web(t *testing.T, h *pairtest.Server) (node.InstanceStatus, error) {
	r, err := control.Dial(h.Run).Report(t.Context())
	if err != nil {
		return node.InstanceStatus{}, err
	}
	return r.Node.Instances[0], nil
}

// watch prints the master's adverts as the user's host sees them, each with its time.
func watch(t *testing.T, c *pairtest.Cluster) *netlab.Proc {
	t.Helper()
	return watchFrom(t, c.User, c.Get("lb1").MAC())
}

func watchFrom(t *testing.T, at *netlab.Host, sender net.HardwareAddr) *netlab.Proc {
	t.Helper()
	labtest.Require(t, "tcpdump")
	p, err := at.Start("tcpdump", "-ttlnn", "--immediate-mode", "-i", netlab.Interface, fmt.Sprintf("ether src %s and ip proto 112", sender))
	if err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		return strings.Contains(p.Output(), "listening on"), "tcpdump says " + p.Output()
	})
	return p
}

// adverts are when those that were watched came.
func adverts(p *netlab.Proc) (at []time.Time) {
	for line := range strings.Lines(p.Output()) {
		var sec, micro int64
		if n, _ := fmt.Sscanf(line, "%d.%d ", &sec, &micro); n == 2 {
			at = append(at, time.Unix(sec, micro*1000))
		}
	}
	return at
}

// next waits for the first advert after an instant.
func next(t *testing.T, p *netlab.Proc, from time.Time, bound time.Duration) (first time.Time) {
	t.Helper()
	labtest.Eventually(t, bound, func() (bool, string) {
		for _, at := range adverts(p) {
			if at.After(from) {
				first = at
				return true, ""
			}
		}
		return false, "no advert was seen"
	})
	return first
}

// longest is the longest time without an advert from one instant to the first one after another.
func longest(t *testing.T, p *netlab.Proc, from, to time.Time) (gap time.Duration) {
	t.Helper()
	end, last := next(t, p, to, settleBound), from
	for _, at := range adverts(p) {
		if at.After(from) && !at.After(end) {
			gap, last = max(gap, at.Sub(last)), at
		}
	}
	return gap
}

// endure floods the pair with one kind of packets, and returns how many a second it were.
func endure(t *testing.T, c *pairtest.Cluster, evil *netlab.Host, beats *netlab.Proc, k kind) (rate int) {
	frames := k.frames(t, c, evil)
	lines := map[string]int{}
	for _, h := range c.Hosts {
		lines[h.Name()] = h.Logged("are refused: ")
	}
	from, used := time.Now(), cpu(t, c)
	f := startFlood(t, evil, fullRate, lasts, frames)
	pairtest.Until(t, from.Add(calm))
	now, use := time.Now(), cpu(t, c)
	for name := range use {
		t.Logf("%s used %.0f%% of a core", name, 100*(use[name]-used[name]).Seconds()/now.Sub(from).Seconds())
	}
	for _, change := range c.Owners.History() {
		if change.At.After(from) {
			t.Errorf("%s: %v held=%t after %s", change.Host, change.Addr, change.Held, change.At.Sub(from))
		}
	}
	if gap := longest(t, beats, from, now); gap > interval*3/2 {
		t.Errorf("the master was silent for %s of its interval of %s", gap, interval)
	} else {
		t.Logf("the master was silent for %s at most", gap)
	}
	i, err := web(t, c.Get(k.at))
	if err != nil {
		t.Fatal(err)
	}
	if count := i.Routers[0].Refused[k.reason]; count == nil || !count.At.After(from) || count.Text == "" {
		t.Errorf("%s counts %+v, nothing of it as %s", k.at, i.Routers[0].Refused, k.reason)
	} else {
		t.Logf("%s counts %d as %s: %s", k.at, count.Count, k.reason, count.Text)
	}
	cutOff(t, c)
	rate = f.end(t)
	t.Logf("flooded with %d packets a second", rate)
	for _, h := range c.Hosts {
		// Six a minute at most, and of each sender at first only.
		if more := h.Logged("are refused: ") - lines[h.Name()]; more > 6 {
			t.Errorf("%d lines in the log of %s", more, h.Name())
		}
	}
	return rate
}

// cutOff takes the master off the switch, and expects the backup to take over when its time has come; then all is as before.
func cutOff(t *testing.T, c *pairtest.Cluster) {
	t.Helper()
	from := pairtest.Step(t, c.Get("lb1").Cut)
	var took time.Duration
	labtest.Eventually(t, settleBound, func() (bool, string) {
		for _, change := range c.Owners.History() {
			if change.Host == "lb2" && change.Addr == vip && change.Held && change.At.After(from) {
				took = change.At.Sub(from)
			}
		}
		return took > 0, "lb2 has not taken over"
	})
	t.Logf("lb2 took over after %s", took)
	if least := down - interval; took < least-20*time.Millisecond || took > down+pairtest.Noise {
		t.Errorf("lb2 took over after %s, want %s to %s", took, least, down)
	}
	if err := c.Get("lb1").Heal(); err != nil {
		t.Fatal(err)
	}
	settled(t, c)
}

// cpu is the processor time that each daemon has used.
func cpu(t *testing.T, c *pairtest.Cluster) map[string]time.Duration {
	t.Helper()
	const ticks = 100 // a second: USER_HZ
	used := map[string]time.Duration{}
	for _, h := range c.Hosts {
		data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(h.Daemon.PID()), "stat"))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		fields := strings.Fields(rest)
		for _, field := range fields[11:13] { // utime and stime of proc(5)
			n, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			used[h.Name()] += time.Duration(n) * time.Second / ticks
		}
	}
	return used
}
