package pairtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// SettleBound is how long a cluster may take until it is at home: two elections at the default interval, and checks.
const SettleBound = 20 * time.Second

// Report asks the host's daemon how it is.
func (h *Server) Report(t testing.TB) (node.Report, error) {
	return control.Dial(h.Run).Report(t.Context())
}

// Instance asks the host's daemon for one instance.
func (h *Server) Instance(t testing.TB, name string) (node.InstanceStatus, error) {
	r, err := h.Report(t)
	if err != nil {
		return node.InstanceStatus{}, err
	}
	for _, i := range r.Node.Instances {
		if i.Name == name {
			return i, nil
		}
	}
	return node.InstanceStatus{}, fmt.Errorf("no instance %s on %s", name, h.Name())
}

// AwaitInstance waits until an instance on the host is as wanted, and returns it.
func (h *Server) AwaitInstance(t testing.TB, name string, bound time.Duration, want func(node.InstanceStatus) bool) node.InstanceStatus {
	t.Helper()
	var last node.InstanceStatus
	labtest.Eventually(t, bound, func() (bool, string) {
		var err error
		if last, err = h.Instance(t, name); err != nil {
			return false, err.Error()
		}
		return want(last), fmt.Sprintf("%s on %s is %s (%s), priority %d, unhealthy %v, routers %+v",
			name, h.Name(), last.State, last.Why, last.Priority, last.Unhealthy, last.Routers)
	})
	return last
}

// AtHome says whether the host's checks are healthy, and its instances masters of what they have, or backups without anything.
func (h *Server) AtHome(t testing.TB, owner bool) (bool, string) {
	r, err := h.Report(t)
	if err != nil {
		return false, err.Error()
	}
	for _, k := range r.Checks {
		if !k.Healthy || k.Streak > 0 {
			return false, fmt.Sprintf("check %s on %s: %s", k.Name, h.Name(), k.Reason)
		}
	}
	for _, i := range r.Node.Instances {
		if owner != (i.State == node.Master && i.Confirmed) || !owner && (i.State != node.Backup || i.Holding) {
			return false, fmt.Sprintf("%s on %s is %s: %s", i.Name, h.Name(), i.State, i.Why)
		}
	}
	return true, ""
}

// Settled waits until every address is on one host, and every daemon that was started is at home.
func (c *Cluster) Settled(t testing.TB, owner string) {
	t.Helper()
	c.Only(t, owner, SettleBound)
	for _, h := range c.Hosts {
		if h.Daemon == nil {
			continue
		}
		labtest.Eventually(t, SettleBound, func() (bool, string) { return h.AtHome(t, h.Name() == owner) })
	}
}
