package sim

import (
	"time"
	"unsafe"
)

// ownClock is a host's own: it began at another time than the others', runs faster or slower, and may have stood still. It has the two
// readings that a process sees: timers go by the monotonic one, which nobody sets; the wall one says how old a signature is.
type ownClock struct {
	drift  int64         // parts per million
	offset time.Duration // to the cluster's at the cluster's start
	hidden time.Duration // how long it stood, on its own scale
	set    time.Duration // by how much the wall reading was set forward, all in all
}

// of says what the clock shows at an instant of the cluster's.
func (k *ownClock) of(t time.Time) time.Time {
	d := t.Sub(epoch)
	mono := d + k.offset - k.hidden + time.Duration(int64(d)*k.drift/1_000_000)
	return instant(epoch.Add(mono+k.set), mono)
}

// real is how long the cluster needs until a duration has passed on this clock; never less.
func (k *ownClock) real(d time.Duration) time.Duration {
	if k.drift == 0 {
		return d
	}
	return d - time.Duration(int64(d)*k.drift/(1_000_000+k.drift)) + time.Nanosecond
}

// readings is how package time keeps an instant that has both. Only time.Now makes such ones, by clocks that no test can set;
// TestInstant holds that this is still how they are kept.
type readings struct {
	wall uint64 // a bit that says there are both, 33 bits of seconds since 1885, 30 bits of nanoseconds
	mono int64
	_    *time.Location // nil: UTC
}

var year1885 = time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix()

// instant is one with both readings.
func instant(wall time.Time, mono time.Duration) time.Time {
	r := readings{wall: 1<<63 | uint64(wall.Unix()-year1885)<<30 | uint64(wall.Nanosecond()), mono: int64(mono)}
	return *(*time.Time)(unsafe.Pointer(&r))
}

// SetClock makes the host's clock run fast by so many parts per million (slow if negative), and begin at another time.
func (h *Host) SetClock(ppm int, offset time.Duration) {
	h.clock.drift, h.clock.offset = int64(ppm), offset
}

// SetWall sets the host's wall clock, as NTP or a person does, so that it is so much ahead of the cluster's. No timer notices.
func (h *Host) SetWall(ahead time.Duration) { h.clock.set += ahead - h.Ahead() }

// Ahead is by how much the host's wall clock is ahead of the cluster's.
func (h *Host) Ahead() time.Duration { return h.now().Round(0).Sub(h.c.now) }

// now is what the host's clock shows.
func (h *Host) now() time.Time { return h.clock.of(h.c.now) }

// after plans what the host does in a while of its own time; while the host stands still nothing is done.
func (h *Host) after(d time.Duration, do func()) {
	h.c.after(h.clock.real(d), func() { h.when(do) })
}

// when does something now, or when the host goes on.
func (h *Host) when(do func()) {
	if h.frozen {
		h.stalled = append(h.stalled, do)
		return
	}
	do()
}
