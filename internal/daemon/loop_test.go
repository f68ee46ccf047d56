package daemon

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestLateTimerWaitsForWhatIsQueued holds that a late timer takes what waited when it was late, and not what a flood goes on
// to bring: the queue is never empty then.
func TestLateTimerWaitsForWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(&config.Config{Node: "lb1"}, Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})
		l := &loop{Daemon: d, ports: map[string]*port{}, node: node.New(d.nodeConfig(d.cfg.Load()), time.Now()), statuses: map[string]string{}}
		nothing := node.Announced{Interface: "eth9"}
		for range eventQueue {
			d.post(t.Context(), nothing)
		}
		const more = 3 * eventQueue // each of them is in the queue as soon as there is room
		for range more {
			go d.post(t.Context(), nothing)
		}
		synctest.Wait()
		began := time.Now()
		l.readDry(readDry)
		synctest.Wait()
		left := 0
		for ; len(l.events) > 0; left++ {
			l.step(<-l.events)
		}
		if left != more || time.Since(began) > 0 {
			t.Errorf("it took %d events in %s, want the %d that were queued, at once", eventQueue+more-left, time.Since(began), eventQueue)
		}
	})
}

// slowReader is a socket whose reader is past any mark at the so manieth look, or never, or breaks.
type slowReader struct {
	looks int
	err   error
}

func (s *slowReader) Mark() linux.Mark { return linux.Mark{} }

func (s *slowReader) Passed(linux.Mark) (bool, error) {
	s.looks--
	return s.looks == 0, s.err
}

// TestLateTimerWaitsForTheReaders holds that it waits until each socket is past the mark, and no longer than it may.
func TestLateTimerWaitsForTheReaders(t *testing.T) {
	for name, tt := range map[string]struct {
		reader slowReader
		want   time.Duration
	}{
		"already past it": {slowReader{looks: 1}, 0},
		"past it, later":  {slowReader{looks: 4}, 3 * dryPoll},
		"broken":          {slowReader{err: errors.New("broken")}, 0},
		"stuck":           {slowReader{}, readDry},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &loop{Daemon: newDaemon(&config.Config{Node: "lb1"}, Options{Log: hclog.NewNullLogger()})}
				began := time.Now()
				l.waitFor(map[hearer]linux.Mark{&tt.reader: {}}, readDry)
				if took := time.Since(began); took != tt.want {
					t.Errorf("it waited %s, want %s", took, tt.want)
				}
			})
		})
	}
}

// TestLateTimerWaitsNoLongerThanABackup: while the loop waits for the readers no master advertises, so the wait is short where an
// interval is, from the configuration of the moment on. Who has been missed already waits as long as it takes.
func TestLateTimerWaitsNoLongerThanABackup(t *testing.T) {
	every := func(interval time.Duration, dead int) node.Instance {
		i := on("web", "eth0", 71, "192.0.2.10")
		i.Interval, i.DeadAdverts = interval, dead
		return i
	}
	slow, swift := every(time.Second, 3), every(10*time.Millisecond, 3)
	swift.Name, swift.VRID = "swift", 72
	tests := []struct {
		name      string
		instances []node.Instance
		late      time.Duration
		woken     bool
		want      time.Duration
	}{
		{"at the usual interval", []node.Instance{slow}, lateElapsed, false, readDry},
		{"where one is short", []node.Instance{slow, swift}, lateElapsed, false, 7500 * time.Microsecond},
		{"where it is as short as can be", []node.Instance{every(10*time.Millisecond, 2)}, lateElapsed, false, 5 * time.Millisecond},
		{"where it is short, but many adverts may be missing", []node.Instance{every(20*time.Millisecond, 20)}, lateElapsed, false, readDry},
		{"where one is short, and was missed already", []node.Instance{slow, swift}, 31 * time.Millisecond, false, readDry},
		{"where one is short, and the machine slept", []node.Instance{slow, swift}, lateElapsed, true, readDry},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDaemon(&config.Config{Node: "lb1", Instances: []node.Instance{every(10*time.Millisecond, 3)}}, Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})
			l := &loop{Daemon: d, ports: map[string]*port{}, statuses: map[string]string{}}
			l.begin()
			if got := l.dryBound(lateElapsed); got != 7500*time.Microsecond {
				t.Errorf("before the reload it would wait for %s", got)
			}
			l.step(node.Reconfigured{Config: node.Config{Name: "lb1", Instances: tt.instances}})
			l.woken = tt.woken
			if got := l.dryBound(tt.late); got != tt.want {
				t.Errorf("it would wait for %s, want %s", got, tt.want)
			}
		})
	}
}

// Names come and go with reloads: what is kept by them goes with the instance, and one that is renamed is known at once.
func TestLoopForgetsInstancesThatAreGone(t *testing.T) {
	d := newDaemon(&config.Config{Node: "lb1", Instances: []node.Instance{on("web", "eth0", 71, vip1.String())}}, Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})
	l := &loop{Daemon: d, node: node.New(d.nodeConfig(d.cfg.Load()), time.Now()), statuses: map[string]string{"gone": "master"}}
	kept := d.announcer.of("web")
	d.announcer.drop("gone")
	l.publish(time.Now())
	if len(l.statuses) != 1 || len(d.announcer.epoch) != 2 {
		t.Errorf("without a reload something changed: %v, %d epochs", l.statuses, len(d.announcer.epoch))
	}
	l.retuned = true
	l.publish(time.Now())
	if l.statuses["web"] != "init" || len(l.statuses) != 1 || len(d.announcer.epoch) != 1 || d.announcer.of("web") != kept {
		t.Errorf("known are %v and %d epochs", l.statuses, len(d.announcer.epoch))
	}
}
