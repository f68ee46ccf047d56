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
		l.readDry()
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
				l.waitFor(map[hearer]linux.Mark{&tt.reader: {}})
				if took := time.Since(began); took != tt.want {
					t.Errorf("it waited %s, want %s", took, tt.want)
				}
			})
		})
	}
}
