package linux

import (
	"testing"
	"time"
)

func TestSuspendedStandsStillWhileTheMachineRuns(t *testing.T) {
	first, err := Suspended()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	second, err := Suspended()
	if err != nil {
		t.Fatal(err)
	}
	// The two clocks are read one after the other: a test machine may stall between the two.
	if d := (second - first).Abs(); d > 15*time.Millisecond {
		t.Errorf("the sum of all sleeps grew by %s while the machine ran", d)
	}
}
