package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
)

// A verdict that changes is news to the node, and another reason for a failure that lasts.
func TestWhatTheNodeHearsOfChecks(t *testing.T) {
	d := newDaemon(&config.Config{Node: "lb1"}, Options{Log: hclog.NewNullLogger()})
	tests := []struct {
		name string
		r    checks.Result
		want int
	}{
		{"the first success", checks.Result{Check: "nginx", Healthy: true, Changed: true}, 1},
		{"another success", checks.Result{Check: "nginx", Healthy: true}, 0},
		{"a failure that changes nothing yet", checks.Result{Check: "nginx", Healthy: true, Reason: "refused"}, 0},
		{"the failure that changes the verdict", checks.Result{Check: "nginx", Changed: true, Reason: "refused"}, 1},
		{"the same failure once more", checks.Result{Check: "nginx", Reason: "refused"}, 0},
		{"a failure for another reason", checks.Result{Check: "nginx", Reason: "timed out"}, 1},
	}
	for _, tt := range tests {
		d.checked(tt.r)
		if got := len(d.events); got != tt.want {
			t.Errorf("%s: the node hears %d things, want %d", tt.name, got, tt.want)
		}
		for len(d.events) > 0 {
			if ev, ok := (<-d.events).(node.CheckChanged); !ok || ev.Check != "nginx" || ev.Healthy != tt.r.Healthy || ev.Reason != tt.r.Reason {
				t.Errorf("%s: the node hears %+v", tt.name, ev)
			}
		}
	}
}

// What the node asked for is told after the verdict, of a run that began after the question and leaves no doubt.
func TestWhatTheNodeHearsOfChecksThatItAsks(t *testing.T) {
	d := newDaemon(&config.Config{Node: "lb1"}, Options{Log: hclog.NewNullLogger()})
	before := time.Now()
	d.monitors.ask([]string{"disk"})
	after := time.Now()
	tests := []struct {
		name string
		r    checks.Result
		want []node.Event
	}{
		{"another check", checks.Result{Check: "nginx", Healthy: true, Began: after}, nil},
		{"a run that was under way", checks.Result{Check: "disk", Healthy: true, Began: before.Add(-time.Second)}, nil},
		{"a first failure", checks.Result{Check: "disk", Healthy: true, Began: after, Streak: 1, Need: 2}, nil},
		{"the second", checks.Result{Check: "disk", Changed: true, Reason: "full", Began: after}, []node.Event{
			node.CheckChanged{Check: "disk", Reason: "full"}, node.Rechecked{Check: "disk", Began: after}}},
		{"one more, for which nobody asked", checks.Result{Check: "disk", Healthy: true, Began: after}, nil},
	}
	for _, tt := range tests {
		d.checked(tt.r)
		var got []node.Event
		for len(d.events) > 0 {
			got = append(got, <-d.events)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestReadersMayComeBeforeTheLoopRuns(t *testing.T) {
	d := newDaemon(&config.Config{Node: "lb1", Instances: []node.Instance{on("web", "eth0", 71, "192.0.2.10")}}, Options{Log: hclog.NewNullLogger()})
	r := d.Report()
	if r.Node == nil || len(r.Node.Instances) != 1 || r.Node.Instances[0].State != node.Init {
		t.Errorf("report: %+v", r.Node)
	}
}

func TestSteeringAfterTheEndIsRefused(t *testing.T) {
	d := newDaemon(&config.Config{Node: "lb1"}, Options{Log: hclog.NewNullLogger(), StateDir: t.TempDir(), RuntimeDir: t.TempDir()})
	close(d.ended)
	if _, err := d.Drain(t.Context(), "admin"); !errors.Is(err, errStopping) {
		t.Errorf("drain: %v", err)
	}
	if diff := cmp.Diff([]string{"admin"}, load(t, d.drains)); diff != "" {
		t.Errorf("the drain is kept for the next start (-want +got):\n%s", diff)
	}
	if err := d.Undrain(t.Context(), "admin"); !errors.Is(err, errStopping) {
		t.Errorf("undrain: %v", err)
	}
}

// TestDrainsThatAreNotSavedAreLogged: whoever asks may throw the answer away.
func TestDrainsThatAreNotSavedAreLogged(t *testing.T) {
	for name, do := range map[string]func(*Daemon) error{
		"the drain will not outlive this daemon": func(d *Daemon) error {
			_, err := d.Drain(t.Context(), "admin")
			return err
		},
		"the drain comes back with the next start": func(d *Daemon) error { return d.Undrain(t.Context(), "admin") },
	} {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		d := newDaemon(&config.Config{Node: "lb1"}, Options{Log: hclog.New(&hclog.LoggerOptions{Output: &log}), StateDir: file, RuntimeDir: t.TempDir()})
		close(d.ended)
		if err := do(d); !errors.Is(err, errStopping) {
			t.Errorf("%s: %v", name, err)
		}
		if want := name + ": name=admin error=\"save drains: "; !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &log)
		}
	}
}

func TestPostNeverWaitsForALoopThatEnded(t *testing.T) {
	d := newDaemon(&config.Config{Node: "lb1"}, Options{Log: hclog.NewNullLogger()})
	close(d.ended)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range eventQueue + 10 {
			d.post(t.Context(), node.Elapsed{})
		}
	}()
	select {
	case <-done:
	case <-time.After(bound):
		t.Fatal("it waits")
	}
}
