package notify

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestTheLastHookOfWhatIsRemoved: what a reload removes stops after it, and its hooks are those that it had.
func TestTheLastHookOfWhatIsRemoved(t *testing.T) {
	web, db, edge := Name{Name: "web"}, Name{Name: "db"}, Name{Group: true, Name: "edge"}
	only := func(h Hook, instances ...string) Hook {
		h.Settings.Instances = instances
		return h
	}
	type config struct {
		hooks []Hook
		names []Name
	}
	stop, group := Transition{Instance: "web", State: Stop}, Transition{Group: true, Instance: "edge", State: Stop}
	tests := []struct {
		name    string
		configs func(b *book) []config
		tell    []Transition
		want    []string
	}{
		{
			name: "a hook that goes on for others",
			configs: func(b *book) []config {
				tell := b.hook("tell", 0, Master, Stop)
				return []config{{[]Hook{only(tell, "web", "db")}, []Name{web, db}}, {[]Hook{only(tell, "db")}, []Name{db}}}
			},
			tell: []Transition{stop}, want: []string{"tell web"},
		},
		{
			name: "a hook that is removed with it, behind those that are not",
			configs: func(b *book) []config {
				old, all := only(b.hook("old", 0, Stop), "web"), b.hook("all", 0, Stop)
				return []config{{[]Hook{old, all}, []Name{web, db}}, {[]Hook{all}, []Name{db}}}
			},
			tell: []Transition{stop}, want: []string{"all web", "old web"},
		},
		{
			name: "a hook for all is the new one",
			configs: func(b *book) []config {
				was, is := b.hook("tell", time.Second, Stop), b.hook("tell", 2*time.Second, Stop)
				return []config{{[]Hook{was}, []Name{web, db}}, {[]Hook{is}, []Name{db}}}
			},
			tell: []Transition{stop}, want: []string{"tell web 2s"},
		},
		{
			name: "one that had another command",
			configs: func(b *book) []config {
				was, is := b.hook("tell", time.Second, Stop), b.hook("tell", 2*time.Second, Stop)
				return []config{{[]Hook{was}, []Name{web, db}}, {[]Hook{only(is, "db")}, []Name{db}}}
			},
			tell: []Transition{stop, {Instance: "db", State: Stop}}, want: []string{"tell web 1s", "tell db 2s"},
		},
		{
			name: "the stop alone",
			configs: func(b *book) []config {
				return []config{{[]Hook{b.hook("tell", 0, States...)}, []Name{web, db}}, {nil, []Name{db}}}
			},
			tell: []Transition{{Instance: "web", State: Master}, {Instance: "web", State: Fault}},
		},
		{
			name: "not for who was not in it, nor of a hook that was removed alone",
			configs: func(b *book) []config {
				return []config{{[]Hook{b.hook("tell", 0, Stop)}, []Name{web, db}}, {nil, []Name{db}}}
			},
			tell: []Transition{{Instance: "other", State: Stop}, {Instance: "db", State: Stop}},
		},
		{
			name: "not once it is back",
			configs: func(b *book) []config {
				return []config{{[]Hook{b.hook("tell", 0, Stop)}, []Name{web, db}}, {nil, []Name{db}}, {nil, []Name{web, db}}}
			},
			tell: []Transition{stop},
		},
		{
			name: "some more reloads later, as it was last",
			configs: func(b *book) []config {
				first, last := b.hook("tell", time.Second, Stop), b.hook("tell", 2*time.Second, Stop)
				list := []config{{[]Hook{first}, []Name{web, db}}, {[]Hook{last}, []Name{web, db}}}
				for range maxFormer {
					list = append(list, config{nil, []Name{db}})
				}
				return list
			},
			tell: []Transition{stop}, want: []string{"tell web 2s"},
		},
		{
			name: "not after many reloads",
			configs: func(b *book) []config {
				list := []config{{[]Hook{b.hook("tell", 0, Stop)}, []Name{web, db}}}
				for range maxFormer + 1 {
					list = append(list, config{nil, []Name{db}})
				}
				return list
			},
			tell: []Transition{stop},
		},
		{
			name: "a group",
			configs: func(b *book) []config {
				h := b.hook("tell", 0, Stop)
				h.Settings.Groups = []string{"edge"}
				return []config{{[]Hook{h}, []Name{web, db, edge}}, {nil, []Name{web, db}}}
			},
			tell: []Transition{stop, group}, want: []string{"tell edge"},
		},
		{
			name: "a hook that serves the host",
			configs: func(b *book) []config {
				h := b.hook("nginx", 0, Stop)
				h.PerHost = true
				return []config{{[]Hook{only(h, "web", "db")}, []Name{web, db}}, {[]Hook{only(h, "db")}, []Name{db}}}
			},
			tell: []Transition{stop}, want: []string{"nginx web"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBook()
				n := New(nil, b.report)
				begun(t, n)
				for _, c := range tt.configs(b) {
					n.Replace(c.hooks, c.names)
				}
				var got []string
				for _, tr := range tt.tell {
					n.Notify(tr)
					time.Sleep(time.Minute)
					for _, r := range b.taken() {
						line := fmt.Sprintf("%s %s", r.Hook, r.Instance)
						if r.Took > 0 {
							line += " " + r.Took.String()
						}
						got = append(got, line)
					}
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("hooks (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestOwes: until the last hook of what was removed has ended no other program can go on with the queues.
func TestOwes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		n := New(nil, b.report)
		begun(t, n)
		tell := b.hook("tell", 5*time.Second, Master, Stop)
		n.Replace([]Hook{tell}, []Name{{Name: "web"}, {Name: "db"}})
		n.Notify(Transition{Instance: "web", State: Master})
		time.Sleep(time.Second)
		if n.Owes() {
			t.Error("what is configured is owed nothing that another program would not know")
		}
		n.Replace(nil, []Name{{Name: "db"}})
		n.Notify(Transition{Instance: "web", State: Stop})
		for at, want := range map[time.Duration]bool{3 * time.Second: true, 8 * time.Second: true, 10 * time.Second: false} {
			time.AfterFunc(at, func() {
				if got := n.Owes(); got != want {
					t.Errorf("%s later it is owed something: %t", at, got)
				}
			})
		}
		time.Sleep(time.Minute)
	})
}
