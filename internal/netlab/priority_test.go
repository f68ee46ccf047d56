package netlab_test

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

func TestPrioritiseReachesTheHosts(t *testing.T) {
	labtest.Root(t)
	h := labtest.Host(t, labtest.New(t), "lb1")
	if err := netlab.Prioritise(); err != nil {
		t.Fatal(err)
	}
	out, err := h.Exec(t.Context(), "nice")
	if err != nil || strings.TrimSpace(out) != "-15" {
		t.Errorf("a command on a host runs at %q, %v", out, err)
	}
}
