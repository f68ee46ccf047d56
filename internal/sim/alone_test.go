package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// loner is a master which finds nobody under its peers' names, or finds the other host.
func loner(t *testing.T, alone bool) (s *scenario, a *Host, i *watched) {
	t.Helper()
	s = namedPair(func(h *Host, name string) bool { return alone && h.Name == "a" && name == "b.eth0" })
	a = s.c.Host("a")
	a.Start()
	s.c.Run(10 * time.Second)
	i = s.w.host(a).instances["web"]
	if a.State("web") != node.Master || i.alone != alone || len(s.c.Faults()) > 0 {
		t.Fatalf("it is %s and alone %t, faults %q", a.State("web"), i.alone, s.c.Faults())
	}
	return s, a, i
}

// quickly gives a host's instances another interval.
func quickly(h *Host, interval time.Duration) {
	next := h.Config()
	next.Instances = slices.Clone(next.Instances)
	next.Instances[0].Interval = interval
	h.Reconfigure(next)
}

// TestWatchSeesLonersThatSlept holds that a master which has nobody to advertise to must look who is master where it would have been silent for
// too long, as any other, and that it need not where it was awake, or where it could not know better by what it was configured to say before.
func TestWatchSeesLonersThatSlept(t *testing.T) {
	for _, tt := range []struct {
		name   string
		alone  bool
		before time.Duration // its interval; now it is a second
		slept  time.Duration
		want   string // empty: nothing
	}{
		{"it slept", true, time.Second, 4 * time.Second, "although it was silent for 4"},
		{"it slept for less", true, time.Second, 2500 * time.Millisecond, ""},
		{"it slept for less than it had said before a reload", true, 3 * time.Second, 4 * time.Second, ""},
		{"it slept for longer than that", true, 3 * time.Second, 10 * time.Second, "although it was silent for 10"},
		{"one that is not alone slept", false, time.Second, 4 * time.Second, "although it was silent for 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, a, i := loner(t, tt.alone)
			if tt.before != time.Second {
				quickly(a, tt.before)
				quickly(a, time.Second)
			}
			a.Pause()
			s.c.Run(tt.slept)
			s.w.step(a, node.Woke{}, nil) // what it is told first makes it no better
			s.w.step(a, node.Elapsed{}, []node.Action{node.SetAddresses{Instance: "web", Addresses: i.last.Addresses}})
			if tt.want != "" {
				wantFault(t, s.c, tt.want)
			} else if len(s.c.Faults()) > 0 {
				t.Errorf("faults %q, want none", s.c.Faults())
			}
		})
	}
}

// TestWatchKnowsWhenLonersSpoke holds that a process which goes on for a master may look who is master where that one would have said its last
// word too long ago, had it somebody to say it to: an interval before it was seen to do anything, and by what it is configured to say now. One that
// has somebody was heard when it was.
func TestWatchKnowsWhenLonersSpoke(t *testing.T) {
	for _, tt := range []struct {
		name   string
		alone  bool
		before time.Duration // its interval; now it is a second
		away   time.Duration
		want   bool // that it is found
	}{
		{"alone, for a moment", true, time.Second, 1500 * time.Millisecond, true},
		{"alone, for as long as an advert of before may last", true, time.Second, 2500 * time.Millisecond, false},
		{"not alone, for as long", false, time.Second, 1900 * time.Millisecond, true},
		{"not alone, for too long", false, time.Second, 3500 * time.Millisecond, false},
		{"alone, for less than it had said before a reload", true, 10 * time.Second, 2500 * time.Millisecond, false},
		{"not alone, for less than it had said before a reload", false, 10 * time.Second, 3500 * time.Millisecond, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, a, _ := loner(t, tt.alone)
			if tt.before != time.Second {
				quickly(a, tt.before)
				quickly(a, time.Second)
			}
			a.Pause()
			s.c.Run(tt.away)
			s.w.exchanged(a, a.node, []node.Action{node.Announce{Instance: "web"}})
			if found := len(s.c.Faults()) > 0; found != tt.want {
				t.Errorf("faults %q, want some: %t", s.c.Faults(), tt.want)
			}
		})
	}
}

// TestWatchKnowsWhoFindsSomebody holds that a master which has just found somebody to advertise to would have spoken until then, until it speaks.
func TestWatchKnowsWhoFindsSomebody(t *testing.T) {
	s, a, i := loner(t, true)
	s.c.Resolve = s.resolve
	for !slices.Equal(namesOf(a), []string{"a.eth0", "b.eth0"}) {
		s.c.Run(time.Millisecond)
	}
	if alone(a, i.last) || !i.alone || s.c.now.Sub(i.spoke) > i.last.Interval {
		t.Errorf("it has nobody %t, it had nobody %t, and spoke %s ago", alone(a, i.last), i.alone, s.c.now.Sub(i.spoke))
	}
	s.c.Run(i.last.Interval)
	if i.alone || len(s.c.Faults()) > 0 {
		t.Errorf("an interval later it has had nobody %t, faults %q", i.alone, s.c.Faults())
	}
}

// namesOf are the names that lead a host somewhere.
func namesOf(h *Host) (names []string) {
	for _, name := range []string{"a.eth0", "b.eth0"} {
		if ips, _ := h.Leads(name); len(ips) > 0 {
			names = append(names, name)
		}
	}
	return names
}
