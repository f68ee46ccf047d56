package daemon

import (
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
)

// TestNodeKnowsEveryCheck: a check tells the node of a change once, whether or not an instance heeds it yet.
func TestNodeKnowsEveryCheck(t *testing.T) {
	cfg := &config.Config{Node: "lb1", Checks: []config.Check{{Name: "nginx"}, {Name: "disk"}}}
	d := newDaemon(cfg, Options{Log: hclog.NewNullLogger()})
	if got := d.nodeConfig(cfg).Checks; !slices.Equal(got, []string{"nginx", "disk"}) {
		t.Errorf("the node is told of %v", got)
	}
}
