package daemon

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
)

// A disk that hangs, here a lock that another process does not give back, keeps no address from moving; what was asked for
// in one order is saved in that order.
func TestDrainMovesBeforeItIsSaved(t *testing.T) {
	t.Parallel()
	x := newLiving(t)
	x.state(node.Master)
	unlock, err := lockDrains(x.opts.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan node.Drained, 1)
	go func() {
		answer, err := x.Drain(t.Context(), "admin")
		if err != nil {
			t.Error(err)
		}
		answers <- answer
	}()
	eventually(t, "it is drained", func() bool { return len(x.Report().Node.Drained) > 0 })
	if got := load(t, x.drains); len(got) > 0 {
		t.Errorf("saved already: %v", got)
	}
	undrained := make(chan error, 1)
	go func() { undrained <- x.Undrain(t.Context(), "admin") }()
	eventually(t, "the drain is lifted", func() bool { return len(x.Report().Node.Drained) == 0 })
	unlock()
	if answer := <-answers; answer.Unsaved != "" {
		t.Errorf("drain: %+v", answer)
	}
	if err := <-undrained; err != nil {
		t.Errorf("undrain: %v", err)
	}
	if got := load(t, x.drains); len(got) > 0 {
		t.Errorf("saved: %v", got)
	}
}

func TestSaveThatIsLateIsSaid(t *testing.T) {
	s := save{done: make(chan error, 1), until: time.Now()}
	if err := s.result(); err == nil || !strings.Contains(err.Error(), "the disk has not taken it within 3s") {
		t.Errorf("late: %v", err)
	}
	s.done <- nil
	if err := s.result(); err != nil {
		t.Errorf("there in time, asked late: %v", err)
	}
}

func TestSavesAreBounded(t *testing.T) {
	k := &drainSaver{drains: newDrains(t), log: hclog.NewNullLogger(), waiting: maxSaves}
	if err := k.begin("admin", true).result(); err == nil || err.Error() != "save drains: 64 earlier changes wait for the disk" {
		t.Errorf("%v", err)
	}
}

// What became master a moment ago is in no snapshot yet, and is drained all the same.
func TestDrainKnowsWhatHappenedAMomentAgo(t *testing.T) {
	i := on("web", "eth0", 71, vip1.String())
	d := newDaemon(&config.Config{Node: "lb1", Instances: []node.Instance{i}}, Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})
	l := &loop{Daemon: d, node: node.New(d.nodeConfig(d.cfg.Load()), time.Now()), statuses: map[string]string{}, pace: time.Hour, snapped: time.Now()}
	l.node.Step(time.Now(), node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, Reason: ""}})
	taken := make(chan *node.Status, 1)
	l.steer(steering{nil, taken})
	if before := <-taken; before != nil || l.snapshot.Load().Instances[0].State != node.Init {
		t.Errorf("a snapshot was made: %+v", before)
	}
	want := l.node.Status(time.Now()).Instances[0].State
	l.steer(steering{node.Drain{Who: "admin", On: true}, taken})
	before := <-taken
	if diff := cmp.Diff(want, before.Instances[0].State); diff != "" || want == node.Init || len(before.Drained) > 0 {
		t.Errorf("before: %+v", before)
	}
}
