package immunity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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

// voice is adverts that passed a host's interface, by the kernel's clock.
type voice struct {
	proc     *netlab.Proc // prints them, each with its time
	priority int          // of those that count; 0: all
	last     string       // line that was read
	at       map[uint8][]time.Time
}

// of is the adverts with a priority.
func (v *voice) of(priority int) *voice {
	return &voice{proc: v.proc, priority: priority, at: map[uint8][]time.Time{}}
}

// watch begins to record the adverts that a host sends, and those that it receives from some MAC addresses, and not what strangers
// send. Its filter is the kernel's.
func watch(t *testing.T, h *netlab.Host, senders ...net.HardwareAddr) *voice {
	t.Helper()
	labtest.Require(t, "tcpdump")
	which := []string{"outbound"}
	for _, mac := range senders {
		which = append(which, "ether src "+mac.String())
	}
	p, err := h.Start("tcpdump", "-ttlnn", "--immediate-mode", "-i", netlab.Interface, fmt.Sprintf("(%s) and (ip proto 112 or ip6 proto 112)", strings.Join(which, " or ")))
	if err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		return strings.Contains(p.Output(), "listening on"), "tcpdump says " + p.Output()
	})
	return &voice{proc: p, at: map[uint8][]time.Time{}}
}

// adverts are when those of each virtual router passed. Only what is new is read: a test asks often, and of much.
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
		var priority int
		_, rest, _ := strings.Cut(line, ", vrid ")
		if n, _ := fmt.Sscanf(line, "%d.%d ", &sec, &micro); n != 2 {
			continue
		}
		if n, _ := fmt.Sscanf(rest, "%d, prio %d,", &vrid, &priority); n == 2 && (v.priority == 0 || priority == v.priority) {
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
		w := threads{}
		defer w.forget()
		w.find(pid)
		at, last := time.Now(), w.shares()
		for n := 1; ctx.Err() == nil; n++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
			if n%10 == 0 {
				w.find(pid) // the daemon makes one now and then
			}
			now, next := time.Now(), w.shares()
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

// threads are the open files /proc/PID/task/TID/schedstat of a process: to open them costs more than to read them.
type threads map[string]*os.File

// find opens what is new.
func (w threads) find(pid int) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	list, _ := os.ReadDir(dir) // none: the process has ended
	for _, e := range list {
		if w[e.Name()] != nil {
			continue
		}
		if f, err := os.Open(filepath.Join(dir, e.Name(), "schedstat")); err == nil { // else the thread has ended
			w[e.Name()] = f
		}
	}
}

// shares reads for how long each thread has run in all, and waited. It forgets those that have ended.
func (w threads) shares() map[string]share {
	all := map[string]share{}
	var buffer [64]byte
	for thread, f := range w {
		n, err := f.ReadAt(buffer[:], 0)
		ran, rest, _ := strings.Cut(string(buffer[:n]), " ")
		waited, _, ok := strings.Cut(rest, " ")
		if !ok || err != nil && !errors.Is(err, io.EOF) {
			f.Close()
			delete(w, thread)
			continue
		}
		all[thread] = share{nanoseconds(ran), nanoseconds(waited)}
	}
	return all
}

func (w threads) forget() {
	for _, f := range w {
		f.Close()
	}
}

// nanoseconds is what the kernel writes as a number.
func nanoseconds(text string) time.Duration {
	n, _ := strconv.ParseInt(text, 10, 64)
	return time.Duration(n)
}

// waited is how long others had the processors in a time while the process wanted one: what its threads waited, one after another, but
// for what they ran meanwhile, for which the others of them may have waited.
func (q *queue) waited(from, to time.Time) (others time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.looks {
		if l.to.Before(from) || l.from.After(to) {
			continue
		}
		for _, s := range l.threads {
			others += s.waited - s.ran
		}
	}
	return min(max(others, 0), to.Sub(from))
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
