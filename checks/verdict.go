package checks

// verdict is what rise and fall make of results. The first result is the first verdict.
type verdict struct {
	rise, fall int
	known      bool
	healthy    bool
	streak     int // results in a row that contradict the verdict
}

// add takes one more result and tells whether the verdict is a new one.
func (v *verdict) add(passed bool) (changed bool) {
	if !v.known {
		v.known, v.healthy = true, passed
		return true
	}
	if passed == v.healthy {
		v.streak = 0
		return false
	}
	if v.streak++; v.streak < v.need() {
		return false
	}
	v.healthy, v.streak = passed, 0
	return true
}

// need is how many results in a row it takes to change the verdict.
func (v *verdict) need() int {
	if v.healthy {
		return v.fall
	}
	return v.rise
}

// pending tells whether a change of the verdict is under way.
func (v *verdict) pending() bool { return v.streak > 0 }
