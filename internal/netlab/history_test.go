package netlab

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var (
	epoch   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	webAddr = netip.MustParseAddr("10.0.0.100")
)

func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

func change(ms int, host string, held bool) Change {
	return Change{At: at(ms), Host: host, Addr: webAddr, Held: held}
}

func TestHistory(t *testing.T) {
	other := Change{At: at(5), Host: "lb2", Addr: netip.MustParseAddr("10.0.0.101"), Held: true}
	type answers struct {
		Owners       []string // at the end
		Overlap, Gap time.Duration
		Moves        int
	}
	tests := []struct {
		name    string
		history History
		want    answers
	}{
		{"nobody ever", History{other}, answers{nil, 0, 100 * time.Millisecond, 0}},
		{"one host throughout", History{change(-5, "lb1", true), other}, answers{[]string{"lb1"}, 0, 0, 0}},
		{
			"a move without a gap",
			History{change(-5, "lb1", true), change(40, "lb2", true), change(47, "lb1", false)},
			answers{[]string{"lb2"}, 7 * time.Millisecond, 0, 1},
		},
		{
			"a move with a gap",
			History{change(-5, "lb1", true), change(40, "lb1", false), change(43, "lb2", true)},
			answers{[]string{"lb2"}, 0, 3 * time.Millisecond, 1},
		},
		{
			"deleted and repaired on the same host",
			History{change(-5, "lb1", true), change(40, "lb1", false), change(44, "lb1", true)},
			answers{[]string{"lb1"}, 0, 4 * time.Millisecond, 0},
		},
		{
			"two overlaps, the longer one with three hosts",
			History{
				change(-5, "lb1", true), change(10, "lb2", true), change(12, "lb2", false),
				change(20, "lb3", true), change(30, "lb2", true), change(50, "lb1", false), change(60, "lb3", false),
			},
			answers{[]string{"lb2"}, 40 * time.Millisecond, 0, 1},
		},
		{
			"changes after the end do not count",
			History{change(-5, "lb1", true), change(200, "lb1", false), change(200, "lb2", true)},
			answers{[]string{"lb1"}, 0, 0, 0},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, to := at(0), at(100)
			got := answers{
				Owners:  tt.history.Owners(webAddr, to),
				Overlap: tt.history.Overlap(webAddr, from, to),
				Gap:     tt.history.Gap(webAddr, from, to),
				Moves:   tt.history.Moves(webAddr, from, to),
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestHistoryIsText(t *testing.T) {
	h := History{change(0, "lb1", true), change(1500, "lb1", false)}
	want := "       0.0ms  lb1 gets 10.0.0.100\n    1500.0ms  lb1 loses 10.0.0.100\n"
	if diff := cmp.Diff(want, h.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestOwnershipRecordsChangesOnly(t *testing.T) {
	event := func(link int, held bool, flags int) netlink.AddrUpdate {
		return netlink.AddrUpdate{LinkAddress: *netlink.NewIPNet(webAddr.AsSlice()), LinkIndex: link, NewAddr: held, Flags: flags}
	}
	o := &Ownership{holds: make(map[holding]map[int]bool)}
	for i, u := range []netlink.AddrUpdate{
		event(2, true, unix.IFA_F_TENTATIVE), // not usable yet
		event(2, true, 0),                    // had
		event(2, true, 0),                    // a renewal
		event(3, true, 0),                    // on a second interface
		event(2, false, 0),                   // still on that one
		event(3, false, 0),                   // lost
		event(3, false, 0),
	} {
		o.record(at(i), "lb1", u)
	}
	if diff := cmp.Diff(History{change(1, "lb1", true), change(5, "lb1", false)}, o.History(), cmp.Comparer(equalAddr)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func equalAddr(a, b netip.Addr) bool { return a == b }
