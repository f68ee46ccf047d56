package daemon

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestWhatAReloadDoesToAChangedCheck: what being unhealthy does is the node's business, and the check is not touched; a check that
// goes on to look at the same thing keeps its verdict.
func TestWhatAReloadDoesToAChangedCheck(t *testing.T) {
	check := func(change func(*config.Check)) *config.Config {
		options := checks.ProcessOptions{PIDFile: "/run/nginx.pid"}
		c := config.Check{Name: "nginx", Kind: "process", Options: &options, Timing: checks.Timing{Interval: time.Second, Rise: 2, Fall: 5}}
		change(&c)
		return &config.Config{Node: "lb1", Checks: []config.Check{c}}
	}
	from := check(func(*config.Check) {})
	tests := []struct {
		name          string
		change        func(*config.Check)
		made, goingOn bool
	}{
		{"its weight", func(c *config.Check) { c.Effect = node.Effect{OnFailure: node.Weigh, Weight: -20} }, false, false},
		{"its interval", func(c *config.Check) { c.Timing.Interval = 2 * time.Second }, true, true},
		{"its fall", func(c *config.Check) { c.Timing.Fall = 3 }, true, true},
		{"what it read", func(c *config.Check) { c.Reads = map[string]string{"/etc/ssl/web.pem": "1"} }, true, true},
		{"what it looks at", func(c *config.Check) { c.Options = &checks.ProcessOptions{PIDFile: "/run/other.pid"} }, true, false},
		{"its kind", func(c *config.Check) { c.Kind, c.Options = "tcp", &checks.TCPOptions{Address: "127.0.0.1:80"} }, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := planFor(from, check(tt.change), func(checks.Result) {}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.changes.Checks.Changed) != 1 {
				t.Errorf("changes: %s", p.changes.Summary())
			}
			if got := p.monitors["nginx"] != nil; got != tt.made || p.goingOn["nginx"] != tt.goingOn {
				t.Errorf("made anew %t, keeps its verdict %t; want %t, %t", got, p.goingOn["nginx"], tt.made, tt.goingOn)
			}
		})
	}
}

// TestAChangedCheckKeepsItsVerdict: with fall = 5 one failure after a reload is no verdict, unless the check looks at something else.
func TestAChangedCheckKeepsItsVerdict(t *testing.T) {
	for _, goesOn := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := newChecking()
			c.prepare(c.plan(map[string]*fakeChecker{"nginx": {}}))
			end := c.start(t)
			time.Sleep(2 * time.Second)
			ill := &fakeChecker{}
			ill.ill.Store(true)
			p := c.plan(map[string]*fakeChecker{"nginx": ill})
			p.monitors["nginx"] = checks.NewMonitor("nginx", ill, checks.Timing{Interval: time.Second, Timeout: time.Second, PendingInterval: time.Second, Rise: 1, Fall: 5}, c.report)
			p.goingOn = map[string]bool{"nginx": goesOn}
			c.replace(p)
			var verdicts []bool
			for range 6 {
				time.Sleep(time.Second)
				c.mu.Lock()
				verdicts = append(verdicts, c.last["nginx"].Healthy)
				c.mu.Unlock()
			}
			if verdicts[0] != goesOn {
				t.Errorf("goes on %t: healthy %t after one failure", goesOn, verdicts[0])
			}
			if verdicts[5] {
				t.Errorf("goes on %t: healthy after six failures", goesOn)
			}
			end()
		})
	}
}
