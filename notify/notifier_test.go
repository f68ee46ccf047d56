package notify

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/command"
)

// step is something that happens to a Notifier at an instant of a test.
type step struct {
	at time.Duration
	t  Transition
}

// play runs the steps at their instants and waits until nothing more happens.
func play(t *testing.T, n *Notifier, steps []step) {
	t.Helper()
	start := time.Now()
	for _, s := range steps {
		time.Sleep(s.at - time.Since(start))
		synctest.Wait()
		n.Notify(s.t)
	}
	time.Sleep(time.Minute)
	synctest.Wait()
}

func TestOrderAndCoalescing(t *testing.T) {
	all := States
	tests := []struct {
		name  string
		hooks func(b *book) []Hook
		steps func() []step
		want  []string
	}{
		{
			name: "hooks of one transition run one after the other in the order of the configuration",
			hooks: func(b *book) []Hook {
				return []Hook{b.hook("z", time.Second, all...), b.hook("a", time.Second, all...), b.hook("m", 0, Fault)}
			},
			steps: func() []step { return []step{{0, move("web").to(Master)}} },
			want:  []string{"0s+1s z web->master", "1s+1s a web->master"},
		},
		{
			name:  "transitions that come slowly all run, in order",
			hooks: func(b *book) []Hook { return []Hook{b.hook("tell", time.Second, all...)} },
			steps: func() []step {
				m := move("web")
				return []step{{0, m.to(Backup)}, {2 * time.Second, m.to(Master)}, {4 * time.Second, m.to(Fault)}}
			},
			want: []string{"0s+1s tell web->backup", "2s+1s tell web->master", "4s+1s tell web->fault"},
		},
		{
			name:  "behind, only the latest is left, and it says how many were coalesced",
			hooks: func(b *book) []Hook { return []Hook{b.hook("tell", 5*time.Second, all...)} },
			steps: func() []step {
				m := move("web")
				return []step{{0, m.to(Backup)}, {time.Second, m.to(Master)}, {2 * time.Second, m.to(Backup)}, {3 * time.Second, m.to(Fault)}}
			},
			want: []string{"0s+5s tell web->backup", "5s+5s tell web->fault skipped 2"},
		},
		{
			name:  "back to the state that the hooks were run for, it runs again",
			hooks: func(b *book) []Hook { return []Hook{b.hook("tell", 5*time.Second, all...)} },
			steps: func() []step {
				m := move("web")
				return []step{{0, m.to(Master)}, {time.Second, m.to(Backup)}, {2 * time.Second, m.to(Master)}}
			},
			want: []string{"0s+5s tell web->master", "5s+5s tell web->master skipped 1"},
		},
		{
			name: "a newer transition leaves out the rest of the older one's hooks",
			hooks: func(b *book) []Hook {
				return []Hook{b.hook("one", 5*time.Second, all...), b.hook("two", time.Second, all...)}
			},
			steps: func() []step {
				m := move("web")
				return []step{{0, m.to(Master)}, {time.Second, m.to(Backup)}}
			},
			want: []string{"0s+5s one web->master", "5s+5s one web->backup skipped 1", "10s+1s two web->backup skipped 1"},
		},
		{
			name: "a state that no hook wants still takes the place of one that is gone",
			hooks: func(b *book) []Hook {
				return []Hook{b.hook("one", 5*time.Second, Master), b.hook("two", time.Second, Master)}
			},
			steps: func() []step {
				m := move("web")
				return []step{{0, m.to(Master)}, {time.Second, m.to(Backup)}}
			},
			want: []string{"0s+5s one web->master"},
		},
		{
			name:  "a transition that no hook wanted does not count as coalesced",
			hooks: func(b *book) []Hook { return []Hook{b.hook("tell", 5*time.Second, Master)} },
			steps: func() []step {
				m := move("web")
				return []step{{0, m.to(Master)}, {time.Second, m.to(Backup)}, {2 * time.Second, m.to(Master)}}
			},
			want: []string{"0s+5s tell web->master", "5s+5s tell web->master"},
		},
		{
			name:  "an instance that hangs does not delay another",
			hooks: func(b *book) []Hook { return []Hook{hangsFor(b, "web")} },
			steps: func() []step { return []step{{0, move("web").to(Master)}, {time.Second, move("inside").to(Master)}} },
			want:  []string{"1s+0s tell inside->master", "0s+10s tell web->master: context deadline exceeded"},
		},
		{
			name:  "a timeout is followed by the latest transition",
			hooks: func(b *book) []Hook { return []Hook{hangsOnceOn(b, Master)} },
			steps: func() []step {
				m := move("web")
				return []step{{0, m.to(Master)}, {time.Second, m.to(Backup)}}
			},
			want: []string{"0s+10s tell web->master: context deadline exceeded", "10s+0s tell web->backup"},
		},
		{
			name:  "a hook that fails does not keep the next one from running",
			hooks: func(b *book) []Hook { return []Hook{failing(b, errors.New("exit status 3")), b.hook("two", 0, all...)} },
			steps: func() []step { return []step{{0, move("web").to(Master)}} },
			want:  []string{"0s+0s one web->master: exit status 3", "0s+0s two web->master"},
		},
		{
			name: "instances limit a hook to those named",
			hooks: func(b *book) []Hook {
				h := b.hook("tell", 0, all...)
				h.Settings.Instances = []string{"inside"}
				return []Hook{h}
			},
			steps: func() []step { return []step{{0, move("web").to(Master)}, {time.Second, move("inside").to(Master)}} },
			want:  []string{"1s+0s tell inside->master"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBook()
				n := New(tt.hooks(b), b.report)
				begun(t, n)
				play(t, n, tt.steps())
				if diff := cmp.Diff(tt.want, b.results()); diff != "" {
					t.Errorf("reports (-want +got):\n%s", diff)
				}
				if len(n.lanes) > 0 {
					t.Errorf("%d lanes are left although nothing waits", len(n.lanes))
				}
			})
		})
	}
}

func hangsFor(b *book, instance string) Hook {
	return b.hookOf(&fake{name: "tell", takes: func(t Transition) time.Duration {
		if t.Instance == instance {
			return hang
		}
		return 0
	}}, States...)
}

func hangsOnceOn(b *book, state State) Hook {
	return b.hookOf(&fake{name: "tell", takes: func(t Transition) time.Duration {
		if t.State == state {
			return hang
		}
		return 0
	}}, States...)
}

func failing(b *book, err error) Hook {
	return b.hookOf(&fake{name: "one", fails: func(Transition) error { return err }}, States...)
}

func TestPreviousIsWhatTheHooksLastSaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		n := New([]Hook{b.hook("tell", 5*time.Second, States...)}, b.report)
		begun(t, n)
		m := move("web")
		play(t, n, []step{
			{0, m.to(Master)}, {time.Second, m.to(Fault)}, {2 * time.Second, m.to(Stop)}, {3 * time.Second, m.to(Backup)},
			{30 * time.Second, m.to(Fault)},
		})
		want := []string{"0s tell web init->master", "5s tell web master->backup", "30s tell web backup->fault"}
		if diff := cmp.Diff(want, b.lines()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

func TestReassertRunsTheHooksOfTheStateAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		n := New([]Hook{b.hook("tell", 5*time.Second, Master)}, b.report)
		begun(t, n)
		m := move("web")
		again := func() Transition {
			r := m.to(Master)
			r.Reassert = true
			return r
		}
		// The first comes in peace. The third waits together with the state change before it, which nobody has seen yet.
		play(t, n, []step{
			{0, m.to(Master)}, {20 * time.Second, again()},
			{21 * time.Second, m.to(Backup)}, {22 * time.Second, m.to(Master)}, {23 * time.Second, again()},
		})
		var got []bool
		for _, r := range b.reports {
			got = append(got, r.Transition.Reassert)
		}
		if diff := cmp.Diff([]bool{false, true, false}, got); diff != "" {
			t.Errorf("reassert (-want +got):\n%s", diff)
		}
	})
}

func TestOneRunForAllInstancesOfTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		reload := b.hook("reload", 5*time.Second, Master)
		reload.PerHost = true
		n := New([]Hook{reload, b.hook("tell", time.Second, Master)}, b.report)
		begun(t, n)
		play(t, n, []step{
			{0, move("web").to(Master)},
			{time.Second, move("inside").to(Master)}, {time.Second, move("mail").to(Master)}, {time.Second, move("idle").to(Backup)},
		})
		want := []string{
			"0s+1s tell web->master", "1s+1s tell inside->master", "1s+1s tell mail->master",
			"0s+5s reload web->master", "5s+5s reload mail->master also [inside]",
		}
		got := b.results()
		if len(got) == 5 && got[1] > got[2] { // two instances, in no order
			got[1], got[2] = got[2], got[1]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	})
}

func TestPanicIsAFailureWithAReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		bad := b.hookOf(&fake{name: "bad", fails: func(Transition) error { panic("index out of range") }}, Master)
		n := New([]Hook{bad, b.hook("good", 0, Master)}, b.report)
		begun(t, n)
		play(t, n, []step{{0, move("web").to(Master)}})
		want := []string{"0s+0s bad web->master: panic in the hook's code: index out of range", "0s+0s good web->master"}
		if diff := cmp.Diff(want, b.results()); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
		if output := b.reports[0].Output; len(output) == 0 || len(output) > command.MaxOutput {
			t.Errorf("output of the panic has %d bytes, want a stack of at most %d", len(output), command.MaxOutput)
		}
	})
}

func Test255InstancesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		n := New([]Hook{b.hook("tell", time.Second, Master)}, b.report)
		begun(t, n)
		for i := range 255 {
			n.Notify(move(fmt.Sprint("vr", i)).to(Master))
		}
		time.Sleep(8 * time.Second) // 255 / 32 rounds of a second
		synctest.Wait()
		if len(b.reports) != 255 || b.most != 32 {
			t.Errorf("%d hooks ran, at most %d at once; want 255 and 32", len(b.reports), b.most)
		}
	})
}

func TestWaitingForAFreeSlotTakesTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		n := New([]Hook{b.hook("tell", 5*time.Second, States...)}, b.report)
		begun(t, n)
		for i := range MaxRunning {
			n.Notify(move(fmt.Sprint("vr", i)).to(Master))
		}
		synctest.Wait()
		m := move("late")
		play(t, n, []step{{0, m.to(Master)}, {time.Second, m.to(Backup)}})
		results := b.results()
		if got, want := results[len(results)-1], "5s+5s tell late->backup skipped 1"; got != want {
			t.Errorf("last report %q, want %q", got, want)
		}
	})
}

func TestWhatCameBeforeRunIsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		n := New([]Hook{b.hook("tell", 0, States...)}, b.report)
		m := move("web")
		n.Notify(m.to(Backup))
		n.Notify(m.to(Master))
		begun(t, n)
		if diff := cmp.Diff([]string{"0s+0s tell web->master skipped 1"}, b.results()); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	})
}

func TestNotifyDoesNotWaitForASlowReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		hold := make(chan struct{})
		n := New([]Hook{b.hook("tell", 0, States...)}, func(r Report) {
			if r.Instance == "web" {
				<-hold
			}
			b.report(r)
		})
		begun(t, n)
		web := move("web")
		n.Notify(web.to(Master))
		synctest.Wait()
		n.Notify(web.to(Backup)) // the report of the first is still held: a Notify that waits would deadlock the bubble
		n.Notify(move("inside").to(Master))
		synctest.Wait()
		if diff := cmp.Diff([]string{"0s+0s tell inside->master"}, b.results()); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
		close(hold)
		synctest.Wait()
		if got := len(b.results()); got != 3 {
			t.Errorf("%d reports after the report was let go, want 3", got)
		}
	})
}
