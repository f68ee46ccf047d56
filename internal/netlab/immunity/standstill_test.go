package immunity

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

const (
	// standstillCommand makes this test binary the program that tells when a processor stood still.
	standstillCommand = "standstill"
	// pulse is how often it looks at each processor, and faint by how much that may be late. A kernel that handles packets keeps even
	// it waiting, for 2 ms at a time and some more.
	pulse = 4 * time.Millisecond
	faint = 6 * time.Millisecond
)

// standstills tells when a processor did nothing at all, not even its timers: a virtual machine's host had other things to do. Who ran on
// it then did not wait for a processor, as the kernel counts.
type standstills struct {
	proc *netlab.Proc // prints each as it ends
	read int          // bytes of what it prints
	list []standstill
}

type standstill struct{ from, to time.Time }

// watchStandstills looks until the test ends.
func watchStandstills(t *testing.T, h *netlab.Host) *standstills {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.Start(self, standstillCommand)
	if err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, settleBound, func() (bool, string) {
		return strings.HasPrefix(p.Output(), "looking\n"), "the program that looks for standstills says " + p.Output()
	})
	return &standstills{proc: p, read: len("looking\n")}
}

// stood is for how long of a time at least one processor stood still.
func (s *standstills) stood(from, to time.Time) (sum time.Duration) {
	s.catchUp()
	for _, one := range s.list {
		if one.from.Before(from) {
			one.from = from
		}
		if one.to.After(to) {
			one.to = to
		}
		if one.to.After(one.from) {
			sum += one.to.Sub(one.from)
			from = one.to // the next of another processor may have begun before
		}
	}
	return sum
}

// catchUp reads what was printed meanwhile.
func (s *standstills) catchUp() {
	text := s.proc.Output()[s.read:]
	text = text[:strings.LastIndexByte(text, '\n')+1]
	s.read += len(text)
	for line := range strings.Lines(text) {
		var from, to int64
		if n, _ := fmt.Sscanf(line, "%d %d", &from, &to); n == 2 {
			s.list = append(s.list, standstill{time.Unix(0, from), time.Unix(0, to)})
		}
	}
	slices.SortFunc(s.list, func(a, b standstill) int { return a.from.Compare(b.from) })
}

// standstillMain is the program. Each of its threads has a processor, comes before everything else there, and has nothing to do but
// to sleep. It is a program of its own, with room for all of them: Go would let them wait for each other.
func standstillMain() int {
	debug.SetGCPercent(-1)
	count := runtime.NumCPU()
	runtime.GOMAXPROCS(count + 1)
	ready, failed := make(chan error, count), make(chan error, count)
	var mask unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mask); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for cpu, left := 0, count; left > 0; cpu++ {
		if mask.IsSet(cpu) {
			left--
			go func() { failed <- feel(cpu, ready) }()
		}
	}
	for range count {
		select {
		case err := <-failed:
			fmt.Fprintln(os.Stderr, err)
			return 1
		case <-ready:
		}
	}
	fmt.Println("looking")
	fmt.Fprintln(os.Stderr, <-failed)
	return 1
}

// feel prints when a processor stood still: when a sleep there took too long.
func feel(cpu int, ready chan<- error) error {
	if err := command(cpu, 1); err != nil {
		return err
	}
	ready <- nil
	for last := time.Now(); ; {
		sleep := unix.NsecToTimespec(pulse.Nanoseconds())
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &sleep, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("clock_nanosleep", err)
		}
		now := time.Now()
		if now.Sub(last) > pulse+faint {
			fmt.Printf("%d %d\n", last.Add(pulse).UnixNano(), now.UnixNano())
		}
		last = now
	}
}

// command binds this goroutine to a processor, where it runs before all that has a lower priority than its own.
func command(cpu int, priority uint32) error {
	runtime.LockOSThread()
	var only unix.CPUSet
	only.Set(cpu)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: priority}
	return os.NewSyscallError("sched_setattr", unix.SchedSetAttr(0, &attr, 0))
}

// TestStandstill has somebody keep a processor from everything else for a while, as the host of a virtual machine does.
func TestStandstill(t *testing.T) {
	const held = 50 * time.Millisecond
	lab := labtest.New(t)
	s := watchStandstills(t, labtest.Host(t, lab, "lb1", "10.0.0.11/24"))
	var from, to time.Time
	done := make(chan error)
	go func() { // its thread is not used again; Go may have it wait meanwhile
		err := command(0, 2)
		from = time.Now()
		for err == nil && time.Since(from) < held {
		}
		to = time.Now()
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, settleBound, func() (bool, string) {
		stood := s.stood(from, to)
		return stood > held/2 && stood <= to.Sub(from), fmt.Sprintf("a processor was held for %s; found %s", to.Sub(from), stood)
	})
}
