package daemon

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/notify"
)

func TestHookRunsKeepTheLastOfEachInstance(t *testing.T) {
	h := hookRuns{last: map[hookKey]notify.Report{}}
	for _, r := range []notify.Report{
		{Hook: "tell", Instance: "web", Transition: notify.Transition{State: notify.Master}, Err: errors.New("exit status 1")},
		{Hook: "tell", Instance: "mail", Transition: notify.Transition{State: notify.Backup}, Took: time.Second},
		{Hook: "a", Instance: "web", Transition: notify.Transition{State: notify.Fault}, Err: errors.New("timed out"), Output: "so far"},
		{Hook: "tell", Instance: "web", Transition: notify.Transition{State: notify.Backup}},
	} {
		h.add(r)
	}
	var got []string
	for _, r := range h.list() {
		got = append(got, r.Name+" "+r.Instance+" "+r.State+" "+r.Error+" "+r.Output+" "+r.Took.String())
	}
	want := []string{"a web fault timed out so far 0s", "tell mail backup   1s", "tell web backup   0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHooksThatAReloadRemovedAreNotShown(t *testing.T) {
	d := newDaemon(&config.Config{Node: "lb1", Hooks: []config.Hook{{Name: "tell"}}}, Options{Log: hclog.NewNullLogger()})
	close(d.ended)
	for _, name := range []string{"tell", "gone"} {
		d.hookRuns.add(notify.Report{Hook: name, Instance: "web"})
	}
	if hooks := d.Report().Hooks; len(hooks) != 1 || hooks[0].Name != "tell" {
		t.Errorf("shown: %+v", hooks)
	}
}

func TestReloadForgetsTheRunsOfWhatItRemoves(t *testing.T) {
	h := hookRuns{last: map[hookKey]notify.Report{}}
	for _, hook := range []string{"tell", "gone"} {
		for _, name := range []string{"web", "edge", "gone"} {
			h.add(notify.Report{Hook: hook, Instance: name})
		}
	}
	h.keep(&config.Config{Hooks: []config.Hook{{Name: "tell"}}, Instances: []node.Instance{{Name: "web"}}, Groups: []node.Group{{Name: "edge"}}})
	var got []string
	for _, r := range h.list() {
		got = append(got, r.Name+" "+r.Instance)
	}
	if diff := cmp.Diff([]string{"tell edge", "tell web"}, got); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

func TestLogSaysWhatARunOfAHookStandsFor(t *testing.T) {
	var log strings.Builder
	d := newDaemon(&config.Config{Node: "lb1"}, Options{Log: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Debug, DisableTime: true})})
	master := notify.Transition{State: notify.Master}
	d.hookEnded(notify.Report{Hook: "tell", Instance: "web", Transition: master})
	d.hookEnded(notify.Report{Hook: "nginx", Instance: "web", Transition: master, Also: []string{"mail", "api"}, Skipped: 2})
	want := `[DEBUG] notify: hook ran: hook=tell instance=web state=master took=0s output=""
[DEBUG] notify: hook ran: also=["mail", "api"] hook=nginx instance=web skipped=2 state=master took=0s output=""
`
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}
