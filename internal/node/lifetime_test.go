package node

import (
	"testing"
	"time"
)

// TestLeaseOfWhoNeverSpoke: a master whose first advert did not leave has the shortest lease, and not the longest that a duration can be.
func TestLeaseOfWhoNeverSpoke(t *testing.T) {
	i := &instance{cfg: &Instance{Interval: time.Second, DeadAdverts: 3, Lease: true}, state: Master}
	if got := i.lifetime(time.Unix(1000, 0)); got != minLifetime {
		t.Errorf("got %s, want %s", got, minLifetime)
	}
}
