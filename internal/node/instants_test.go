package node_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/node"
)

// TestInstantsAreCarriedOver: wherever they are in a value, instants are as far from each other and from now afterwards as they were, by the
// clock of who reads them. What is none is left alone, and what has none is not written to.
func TestInstantsAreCarriedOver(t *testing.T) {
	type part struct {
		At   time.Time
		Name string
	}
	type whole struct {
		At, Never time.Time
		Parts     []part
		Two       [2]time.Time
		ByName    map[string]part
		Plain     map[string]int // nil: a write to it would panic
		Behind    *part
		Nothing   *part
	}
	made := func(now time.Time) *whole {
		ago := func(d time.Duration) part { return part{now.Add(-d), "x"} }
		return &whole{
			At: now, Parts: []part{ago(time.Second), {}}, Two: [2]time.Time{now.Add(-time.Hour), now.Add(time.Hour)},
			ByName: map[string]part{"a": ago(time.Minute), "b": {Name: "never"}}, Behind: new(ago(2 * time.Second)),
		}
	}
	now := time.Now() // with a monotonic reading
	v := made(now)
	node.ToWall(v, now)
	if diff := cmp.Diff(made(now.Round(0)), v); diff != "" {
		t.Errorf("by the wall clock (-want +got):\n%s", diff)
	}
	then := time.Unix(5000, 0)
	node.FromWall(v, now.Round(0), then)
	if diff := cmp.Diff(made(then), v); diff != "" {
		t.Errorf("by the reader's clock (-want +got):\n%s", diff)
	}
}
