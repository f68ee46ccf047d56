package node_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/internal/sim"
)

// scripted runs the commands of a script, as those of testdata, and returns what the hooks of its host a were told.
func scripted(t *testing.T, script string) (tr *tracer, told []node.Notify) {
	t.Helper()
	tr = newTracer().(*tracer)
	for line := range strings.Lines(script) {
		if err := tr.Command(strings.TrimSpace(line)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if tr.c == nil {
			continue
		}
		tr.c.Observe = func(h *sim.Host, _ node.Event, actions []node.Action) {
			for _, action := range actions {
				if note, ok := action.(node.Notify); ok && h.Name == "a" {
					told = append(told, note)
				}
			}
		}
	}
	return tr, told
}

// TestCause: whoever gives its addresses up says why it does, and to whom they went.
func TestCause(t *testing.T) {
	const pair = "host a 150 check=nginx:yield check=disk:-60 check=bonus:40 check=app:release\nhost b 140\n"
	const served = pair + "start\nrun 5s\n"
	const alone = pair + "start a\nrun 5s\n"
	b := netip.MustParseAddr("10.0.0.2")
	tests := []struct {
		name, script string
		want         node.Notify
	}{
		{"a drain", served + "drain a\nrun 1s",
			node.Notify{State: node.Backup, Why: "drained by admin; relieved by 10.0.0.2 (priority 140)", Peer: b}},
		{"a check that fails", served + "check a nginx fail 503\nrun 1s",
			node.Notify{State: node.Backup, Why: `check "nginx": 503; relieved by 10.0.0.2 (priority 140)`, Peer: b}},
		{"a check that is well again before anybody has come", alone + "check a nginx fail 503\nrun 5ms\ncheck a nginx ok\nheard a 140 from 10.0.0.2\nrun 1s",
			node.Notify{State: node.Backup, Why: `check "nginx": 503; relieved by 10.0.0.2 (priority 140)`, Peer: b}},
		{"a check that releases", served + "check a app fail gone\nrun 1s",
			node.Notify{State: node.Fault, Why: `check "app": gone; relieved by 10.0.0.2 (priority 140)`, Peer: b}},
		{"a check that releases, and is well again before all is done", served + "check a app fail gone\nrun 10ms\ncheck a app ok\nrun 1s",
			node.Notify{State: node.Backup, Why: `check "app": gone; relieved by 10.0.0.2 (priority 140)`, Peer: b}},
		{"the end", served + "stop a\nrun 1s",
			node.Notify{State: node.Stopped, Why: "the daemon stops; relieved by 10.0.0.2 (priority 140)", Peer: b}},
		{"the end, and nobody is there", alone + "stop a\nrun 5s",
			node.Notify{State: node.Stopped, Why: "the daemon stops; nobody took over"}},
		{"a weight", served + "check a disk fail full\nrun 2s",
			node.Notify{State: node.Backup, Why: `check "disk" (weight -60): full; 10.0.0.2 advertises priority 140, ours is 130`, Peer: b}},
		{"weights of both kinds", served + "check a disk fail full\ncheck a bonus fail none\nrun 2s",
			node.Notify{State: node.Backup, Why: `check "bonus" (weight +40): none; check "disk" (weight -60): full; 10.0.0.2 advertises priority 140, ours is 90`, Peer: b}},
		{"a better host, whatever the weight", alone + "check a disk fail full\nrun 1s\nheard a 200 from 10.0.0.9\nrun 1s",
			node.Notify{State: node.Backup, Why: "10.0.0.9 advertises priority 200, ours is 130", Peer: netip.MustParseAddr("10.0.0.9")}},
		{"a host as good as this one would be without the weight", alone + "check a disk fail full\nrun 1s\nheard a 190 from 10.0.0.9\nrun 1s",
			node.Notify{State: node.Backup, Why: `check "disk" (weight -60): full; 10.0.0.9 advertises priority 190, ours is 130`, Peer: netip.MustParseAddr("10.0.0.9")}},
		{"a backup that comes while nobody took the addresses", alone + "drain a\nrun 3.3s\nstart b\nrun 2s",
			node.Notify{State: node.Backup, Why: "drained by admin; 10.0.0.2 advertises priority 140, ours is 1", Peer: b}},
		{"a repeated offer", alone + "drain a\ncheck a nginx fail 503\nrun 2.21s\nheard a 140 from 10.0.0.2\nrun 1s",
			node.Notify{State: node.Backup, Why: `check "nginx": 503; drained by admin; relieved by 10.0.0.2 (priority 140)`, Peer: b}},
		{"a host that is only seen to answer", alone + "drain a\nrun 1.5s\nannounced a 192.0.2.10 02:00:00:00:00:99\nrun 1s",
			node.Notify{State: node.Backup, Why: "drained by admin; 02:00:00:00:00:99 answers for 192.0.2.10", PeerMAC: "02:00:00:00:00:99"}},
		{"a sleep", "all lease=false\n" + served + "pause a\nrun 5s\nresume a\nrun 100ms",
			node.Notify{State: node.Backup, Why: "woke late: 10.0.0.2 is master (priority 140)", Peer: b}},
		{"adverts that do not leave", served + "firewall a operation not permitted\nrun 7s",
			node.Notify{State: node.Fault, Why: "adverts over IPv4 do not leave this host (operation not permitted), and 10.0.0.2 is master", Peer: b}},
		{"a link that is down", served + "link a down\nrun 5s",
			node.Notify{State: node.Fault, Why: `interface "eth0" has no carrier`}},
	}
	about := cmpopts.IgnoreFields(node.Notify{}, "Instance", "Interface", "Previous", "Priority", "Addresses", "Generation", "At")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr, told := scripted(t, tt.script)
			last := told[len(told)-1]
			if diff := cmp.Diff(tt.want, last, about, cmp.Comparer(sameAddr)); diff != "" {
				t.Errorf("hooks (-want +got):\n%s", diff)
			}
			if s := tr.c.Host("a").Status(); s != nil && s.Instances[0].LastChange.Why != tt.want.Why {
				t.Errorf("status says of the last change %q, want %q", s.Instances[0].LastChange.Why, tt.want.Why)
			}
		})
	}
}

func sameAddr(a, b netip.Addr) bool { return a == b }

// TestCauseOfGroup: a group's own hook is told the same, and names the instance whose check it was.
func TestCauseOfGroup(t *testing.T) {
	const edge = " inside.interface=eth1 inside.vrid=52 inside.address=192.0.2.20 group=web,inside"
	_, told := scripted(t, "host a 150 inside.priority=150"+edge+" inside.check=disk:-60\nhost b 100"+edge+"\nstart\nrun 5s\ncheck a disk fail full\nrun 2s")
	const want = `inside: check "disk" (weight -60): full; 10.0.0.2 advertises priority 100, ours is 90`
	var groups int
	for _, note := range told {
		if note.Instance == "" && note.State == node.Backup && note.Previous == node.Master {
			groups++
			if note.Why != want || note.Peer.String() != "10.0.0.2" {
				t.Errorf("the group's hooks are told %q of %v, want %q", note.Why, note.Peer, want)
			}
		}
	}
	if groups != 1 {
		t.Errorf("the group's hooks were told %d times that it is no master any more, want once", groups)
	}
}

// TestOffersEndNothing: a master that offers its addresses, and that nobody relieves, was master all along, whoever looks and whatever
// process goes on for it. Only the first offer is a change.
func TestOffersEndNothing(t *testing.T) {
	const group = " inside.interface=eth1 inside.vrid=52 inside.address=192.0.2.20 group=web,inside"
	tests := []struct{ name, script string }{
		{"again and again", "run 40s"},
		{"another process goes on", "run 40s\nexchange a 80ms\nrun 1s"},
		{"it is well again", "run 40s\ncheck a nginx ok\nrun 1s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr, _ := scripted(t, "host a 150 check=nginx:yield"+group+"\nstart\nrun 5s\ncheck a nginx fail 503\n"+tt.script)
			const rose, resumed = 3414062500 * time.Nanosecond, 6100 * time.Millisecond
			s, start := tr.c.Host("a").Status(), tr.c.Now().Add(-tr.c.Since())
			for _, i := range s.Instances {
				if got := i.Since.Sub(start); i.State != node.Master || got != rose {
					t.Errorf("%s is %s since %s, want master since %s", i.Name, i.State, got, rose)
				}
				if c := i.LastChange; c.From != node.Leaving || c.At.Sub(start) != resumed || c.Took != 1100*time.Millisecond {
					t.Errorf("the last change of %s is %s -> %s at %s, took %s; want leaving -> master at %s, took 1.1s", i.Name, c.From, c.To, c.At.Sub(start), c.Took, resumed)
				}
			}
			g := s.Groups[0]
			if g.Since.Sub(start) != rose || g.LastChange.At.Sub(start) != resumed {
				t.Errorf("the group is %s since %s, changed at %s", g.State, g.Since.Sub(start), g.LastChange.At.Sub(start))
			}
		})
	}
}
