package sim

import "time"

// ownClock is a host's own: it began at another time than the others', runs faster or slower, and may have stood still.
type ownClock struct {
	drift  int64         // parts per million
	offset time.Duration // to the cluster's at the cluster's start
	hidden time.Duration // how long it stood, on its own scale
}

// of says what the clock shows at an instant of the cluster's.
func (k *ownClock) of(t time.Time) time.Time {
	d := t.Sub(epoch)
	return t.Add(k.offset - k.hidden + time.Duration(int64(d)*k.drift/1_000_000))
}

// real is how long the cluster needs until a duration has passed on this clock; never less.
func (k *ownClock) real(d time.Duration) time.Duration {
	if k.drift == 0 {
		return d
	}
	return d - time.Duration(int64(d)*k.drift/(1_000_000+k.drift)) + time.Nanosecond
}

// SetClock makes the host's clock run fast by so many parts per million (slow if negative), and begin at another time.
func (h *Host) SetClock(ppm int, offset time.Duration) {
	h.clock.drift, h.clock.offset = int64(ppm), offset
}

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
