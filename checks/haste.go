package checks

import "sync/atomic"

// maxHaste is how many checks of a daemon may be in haste at a time, and how many second looks may be under way. A thousand checks
// that fail at once because the processor is busy must not keep it busy with looking again; those few are enough to tell
// that a server is gone.
const maxHaste = 64

// cheap is a check that may be one whose runs cost next to nothing: it needs no place.
type cheap interface{ cheap() bool }

// Haste bounds how many of the checks that share it look more often than their interval. Its zero value is ready for use by several
// goroutines.
type Haste struct {
	hasty atomic.Int64 // between two verdicts
	looks atomic.Int64 // second looks under way
}

// begin takes a place, unless all are taken.
func begin(places *atomic.Int64) bool {
	if places.Add(1) <= maxHaste {
		return true
	}
	places.Add(-1)
	return false
}

// end gives it back.
func end(places *atomic.Int64) { places.Add(-1) }
