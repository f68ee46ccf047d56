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

// voice is the adverts that a host sends.
type voice struct {
	proc *netlab.Proc // prints them, each with its time
	last string       // line that was read
	at   map[uint8][]time.Time
}

// watch begins to record the adverts that a host sends, and not what is sent to it.
func watch(t *testing.T, h *netlab.Host) *voice {
	t.Helper()
	labtest.Require(t, "tcpdump")
	p, err := h.Start("tcpdump", "-ttlnn", "--immediate-mode", "-i", netlab.Interface, fmt.Sprintf("ether src %s and (ip proto 112 or ip6 proto 112)", h.MAC()))
	if err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		return strings.Contains(p.Output(), "listening on"), "tcpdump says " + p.Output()
	})
	return &voice{proc: p, at: map[uint8][]time.Time{}}
}

// adverts are when those of each virtual router went out. Only what is new is read: a test asks often, and of much.
func (v *voice) adverts() map[uint8][]time.Time {
	text := v.proc.Output()
	text = text[:strings.LastIndexByte(text, '\n')+1]
	if n := strings.LastIndex(text, v.last); v.last != "" && n >= 0 {
		text = text[n+len(v.last):]
	}
	for line := range strings.Lines(text) {
		v.last = line
		var sec, micro int64
		var vrid uint8
		_, rest, _ := strings.Cut(line, ", vrid ")
		if n, _ := fmt.Sscanf(line, "%d.%d ", &sec, &micro); n != 2 {
			continue
		}
		if n, _ := fmt.Sscanf(rest, "%d,", &vrid); n == 1 {
			v.at[vrid] = append(v.at[vrid], time.Unix(sec, micro*1000))
		}
	}
	return v.at
}

// next waits for the first advert of a virtual router after an instant.
func next(t *testing.T, v *voice, vrid uint8, from time.Time, bound time.Duration) (first time.Time) {
	t.Helper()
	labtest.Eventually(t, bound, func() (bool, string) {
		for _, at := range v.adverts()[vrid] {
			if at.After(from) {
				first = at
				return true, ""
			}
		}
		return false, fmt.Sprintf("no advert of %d was seen", vrid)
	})
	return first
}

// silence is a time without an advert, between two of them.
type silence struct{ from, to time.Time }

func (s silence) lasts() time.Duration { return s.to.Sub(s.from) }

// silences are a virtual router's from one instant to the first advert after another.
func silences(t *testing.T, v *voice, vrid uint8, from, to time.Time) (all []silence) {
	t.Helper()
	end, last := next(t, v, vrid, to, settleBound), from
	for _, at := range v.adverts()[vrid] {
		if at.After(from) && !at.After(end) {
			all = append(all, silence{last, at})
			last = at
		}
	}
	return all
}

// queue records for how long the threads of a process were ready to run and had no processor: what the machine did to it, and not
// what it did itself.
type queue struct {
	stop    context.CancelFunc
	stopped sync.WaitGroup

	mu    sync.Mutex // guards what follows
	looks []look
}

// look is what became of the threads between two looks: how long each ran, and how long it waited for a processor.
type look struct {
	from, to time.Time
	threads  map[string]share
}

// share is of the time of one thread.
type share struct{ ran, waited time.Duration }

// watchQueue looks at a process until the test ends.
func watchQueue(t *testing.T, pid int) *queue {
	const every = 20 * time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	q := &queue{stop: stop}
	q.stopped.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		at, last := time.Now(), shares(pid)
		for ctx.Err() == nil {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
			now, next := time.Now(), shares(pid)
			l := look{at, now, map[string]share{}}
			for thread, s := range next {
				before := last[thread]
				l.threads[thread] = share{s.ran - before.ran, s.waited - before.waited}
			}
			q.mu.Lock()
			q.looks = append(q.looks, l)
			q.mu.Unlock()
			at, last = now, next
		}
	})
	t.Cleanup(func() {
		q.stop()
		q.stopped.Wait()
	})
	return q
}

// shares reads /proc/PID/task/TID/schedstat: for how long each thread has run in all, and waited.
func shares(pid int) map[string]share {
	threads := map[string]share{}
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is good
	for _, path := range paths {
		var s share
		data, err := os.ReadFile(path)
		if n, _ := fmt.Sscan(string(data), &s.ran, &s.waited); err == nil && n == 2 { // else the thread has ended
			threads[path] = s
		}
	}
	return threads
}

// worst is how long the thread that waited longest did so in a time, and how much of that is no doing of the process itself: a thread
// may have waited for its siblings.
func (q *queue) worst(from, to time.Time) (waited, excused time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	sums, all := map[string]share{}, time.Duration(0)
	for _, l := range q.looks {
		if l.to.Before(from) || l.from.After(to) {
			continue
		}
		for thread, s := range l.threads {
			sums[thread] = share{sums[thread].ran + s.ran, sums[thread].waited + s.waited}
			all += s.ran
		}
	}
	for _, s := range sums {
		waited, excused = max(waited, s.waited), max(excused, s.waited-(all-s.ran))
	}
	return waited, excused
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
