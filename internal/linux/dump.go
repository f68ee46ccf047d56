package linux

import (
	"errors"
	"time"

	"github.com/vishvananda/netlink/nl"
)

const (
	// dumpTries bounds how often a list that changed while the kernel gave it away is asked for.
	dumpTries = 5
	// dumpPause is the wait before the third try; each further one is twice as long. The second comes at once: most changes are
	// over by then.
	dumpPause = time.Millisecond
)

// untilWhole asks for a list until the kernel gives it away in one piece; whole is false if it never did. A list that was
// interrupted may lack a few entries that were there all the time, and has others that are gone: no reason to know nothing.
func untilWhole(dump func() error) (whole bool, err error) {
	var pause time.Duration
	for n := range dumpTries {
		time.Sleep(pause)
		if err = dump(); !errors.Is(err, nl.ErrDumpInterrupted) {
			return err == nil, err
		}
		if n > 0 {
			pause = max(2*pause, dumpPause)
		}
	}
	return false, nil
}

// union adds to a list of addresses what another one has, which is newer, and keeps the order. What one interrupted list
// lacks another one has.
func union(list, newer []address) []address {
	if len(list) == 0 {
		return newer
	}
	type key struct {
		place
		bits int // IPv4 can have one address twice, in two networks
	}
	known := make(map[key]int, len(list))
	for i, a := range list {
		known[key{a.at(), a.prefix.Bits()}] = i
	}
	for _, a := range newer {
		if i, there := known[key{a.at(), a.prefix.Bits()}]; there {
			list[i] = a
			continue
		}
		list = append(list, a)
	}
	return list
}
