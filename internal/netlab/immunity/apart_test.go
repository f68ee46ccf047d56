package immunity

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFloodApart tells the story of TestFlood where the flooder has a processor of its own, on which the kernel carries its packets into
// the hosts, and the pair has another. There nothing excuses a move but a processor that stands still, and an advert that is late
// nothing that the flood does to its own host; and the flooder has no excuse.
func TestFloodApart(t *testing.T) {
	f := newField(t, ways)
	f.part(t)
	f.story(t, f.ways)
	s := f.scene(t, f.ways[0])
	var forged [][]byte
	for _, k := range s.kinds(f.c.Get("lb2").Host) {
		if k.reason == "auth-mac" {
			forged = append(forged, k.frames(t)...)
		}
	}
	t.Run("forged signatures alone, and the master is cut off", func(t *testing.T) { f.besiege(t, s, forged) })
	f.punctual(t)
}

// TestFloodOfVirtualMACs tells the same of instances with MAC addresses of their own.
func TestFloodOfVirtualMACs(t *testing.T) {
	f := newField(t, virtualWays)
	f.part(t)
	f.story(t, f.ways)
}

// part gives the pair's daemons one processor, and each flooder from now on another.
func (f *field) part(t *testing.T) {
	t.Helper()
	var mine unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mine); err != nil {
		t.Fatal(err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < mine.Count(); cpu++ {
		if mine.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	if len(cpus) < 2 {
		t.Skip("has one processor only")
	}
	f.flooder = &cpus[len(cpus)-1]
	for _, h := range f.c.Hosts {
		if err := pin(h.Daemon.PID(), cpus[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// flood begins one.
func (f *field) flood(t *testing.T, rate int, lasts time.Duration, frames [][]byte) *flood {
	t.Helper()
	wave := startFlood(t, f.evil, rate, lasts, frames)
	if f.flooder != nil {
		if err := pin(wave.proc.PID(), *f.flooder); err != nil {
			t.Fatal(err)
		}
	}
	return wave
}

// pin has all threads of a process run on one processor. One that is made meanwhile may be missed at first, but not where it was made
// by one that is pinned.
func pin(pid, cpu int) error {
	var only unix.CPUSet
	only.Set(cpu)
	for range 2 {
		list, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
		if err != nil {
			return err
		}
		for _, e := range list {
			thread, err := strconv.Atoi(e.Name())
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(thread, &only); err != nil && err != unix.ESRCH {
				return fmt.Errorf("bind thread %d of process %d to processor %d: %w", thread, pid, cpu, err)
			}
		}
	}
	return nil
}
