package immunity

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// watch prints the adverts that a host sends, each with its time, and not what is sent to it.
func watch(t *testing.T, h *netlab.Host) *netlab.Proc {
	t.Helper()
	labtest.Require(t, "tcpdump")
	p, err := h.Start("tcpdump", "-ttlnn", "--immediate-mode", "-i", netlab.Interface, fmt.Sprintf("ether src %s and (ip proto 112 or ip6 proto 112)", h.MAC()))
	if err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		return strings.Contains(p.Output(), "listening on"), "tcpdump says " + p.Output()
	})
	return p
}

// adverts are when those of each virtual router went out.
func adverts(p *netlab.Proc) map[uint8][]time.Time {
	at := map[uint8][]time.Time{}
	for line := range strings.Lines(p.Output()) {
		var sec, micro int64
		var vrid uint8
		_, rest, _ := strings.Cut(line, ", vrid ")
		if n, _ := fmt.Sscanf(line, "%d.%d ", &sec, &micro); n != 2 {
			continue
		}
		if n, _ := fmt.Sscanf(rest, "%d,", &vrid); n == 1 {
			at[vrid] = append(at[vrid], time.Unix(sec, micro*1000))
		}
	}
	return at
}

// next waits for the first advert of a virtual router after an instant.
func next(t *testing.T, p *netlab.Proc, vrid uint8, from time.Time, bound time.Duration) (first time.Time) {
	t.Helper()
	labtest.Eventually(t, bound, func() (bool, string) {
		for _, at := range adverts(p)[vrid] {
			if at.After(from) {
				first = at
				return true, ""
			}
		}
		return false, fmt.Sprintf("no advert of %d was seen", vrid)
	})
	return first
}

// silence is the longest time without an advert.
type silence struct {
	vrid     uint8
	from, to time.Time
}

func (s silence) lasts() time.Duration { return s.to.Sub(s.from) }

// longest is a virtual router's longest silence from one instant to the first advert after another.
func longest(t *testing.T, p *netlab.Proc, vrid uint8, from, to time.Time) (worst silence) {
	t.Helper()
	end, last := next(t, p, vrid, to, settleBound), from
	worst.vrid = vrid
	for _, at := range adverts(p)[vrid] {
		if at.After(from) && !at.After(end) {
			if at.Sub(last) > worst.lasts() {
				worst.from, worst.to = last, at
			}
			last = at
		}
	}
	return worst
}

// queue records for how long the threads of a process were ready to run and had no processor: what the machine did to it, and not
// what it did itself.
type queue struct {
	stop    context.CancelFunc
	stopped sync.WaitGroup

	mu    sync.Mutex // guards what follows
	waits []wait
}

// wait is how long one thread had to wait between two looks.
type wait struct {
	at     time.Time // of the second
	thread string
	lasts  time.Duration
}

// watchQueue looks at a process until the test ends.
func watchQueue(t *testing.T, pid int) *queue {
	const every = 20 * time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	q := &queue{stop: stop}
	q.stopped.Go(func() {
		tick, last := time.NewTicker(every), map[string]time.Duration{}
		defer tick.Stop()
		for ctx.Err() == nil {
			q.look(pid, last)
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(func() {
		q.stop()
		q.stopped.Wait()
	})
	return q
}

// look reads /proc/PID/task/TID/schedstat: the second number is how long the thread has waited in all.
func (q *queue) look(pid int, last map[string]time.Duration) {
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is good
	for _, path := range paths {
		var ran, waited time.Duration
		data, err := os.ReadFile(path)
		if n, _ := fmt.Sscan(string(data), &ran, &waited); err != nil || n != 2 {
			continue // the thread has ended
		}
		if before, known := last[path]; known && waited > before {
			q.mu.Lock()
			q.waits = append(q.waits, wait{time.Now(), path, waited - before})
			q.mu.Unlock()
		}
		last[path] = waited
	}
}

// worst is how long the thread that waited longest did so in a time.
func (q *queue) worst(from, to time.Time) (worst time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	sums := map[string]time.Duration{}
	for _, w := range q.waits {
		if w.at.After(from) && w.at.Add(-w.lasts).Before(to) {
			sums[w.thread] += w.lasts
			worst = max(worst, sums[w.thread])
		}
	}
	return worst
}

// received is how many packets each host's interface has received.
func received(t *testing.T, c *pairtest.Cluster) map[string]uint64 {
	t.Helper()
	packets := map[string]uint64{}
	for _, h := range c.Hosts {
		err := h.Do(func() error {
			link, err := netlink.LinkByName(netlab.Interface)
			if err == nil {
				packets[h.Name()] = link.Attrs().Statistics.RxPackets
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return packets
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
