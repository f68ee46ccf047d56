package netlab

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func answered(ms int, server string, took int) Attempt {
	return Attempt{Start: at(ms), Took: time.Duration(took) * time.Millisecond, Server: server}
}

func refused(ms int) Attempt {
	return Attempt{Start: at(ms), Took: time.Millisecond, Err: errors.New("connect: connection refused")}
}

func TestAttempts(t *testing.T) {
	type answers struct {
		Outage, Stall   time.Duration
		Failed, Delayed int
		Last            string
		Servers         map[string]int
	}
	const ms = time.Millisecond
	tests := []struct {
		name string
		list []Attempt
		want answers
	}{
		{"none at all", nil, answers{100 * ms, 100 * ms, 0, 0, "", map[string]int{}}},
		{
			"all answered at once",
			[]Attempt{answered(10, "lb1", 1), answered(40, "lb1", 1), answered(70, "lb1", 1)},
			answers{30 * ms, 30 * ms, 0, 0, "lb1", map[string]int{"lb1": 3}},
		},
		{
			"one refused in the middle",
			[]Attempt{answered(20, "lb1", 1), refused(40), answered(60, "lb2", 1), answered(90, "lb2", 1)},
			answers{40 * ms, 30 * ms, 1, 0, "lb2", map[string]int{"lb1": 1, "lb2": 2}},
		},
		{
			"an answer that came late is no failure, but an outage",
			[]Attempt{answered(0, "lb1", 1), answered(30, "lb2", 1001), answered(50, "lb2", 100), answered(90, "lb2", 1)},
			answers{50 * ms, 40 * ms, 0, 1, "lb2", map[string]int{"lb1": 1, "lb2": 3}},
		},
		{
			"an outage that has not ended",
			[]Attempt{answered(5, "lb1", 1), refused(35), refused(65), refused(95)},
			answers{95 * ms, 30 * ms, 3, 0, "lb1", map[string]int{"lb1": 1}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := Attempts{From: at(0), To: at(100), List: tt.list}
			got := answers{a.Outage(), a.Stall(), len(a.Failed()), len(a.Delayed()), a.LastServer(), a.Servers()}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestAttemptsAreText(t *testing.T) {
	a := Attempts{From: at(0), To: at(100), List: []Attempt{answered(10, "lb2", 1), answered(40, "lb1", 200), refused(70)}}
	want := "3 connections, outage 90ms, stall 30ms, delayed 1: lb1 1, lb2 1, failed 1 (connect: connection refused)"
	if diff := cmp.Diff(want, a.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
