package daemon

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestHintIsNoPartOfTheReason: what may keep nginx from starting on a host without the addresses stands beside what each check found, so
// that a screen shows it once. Here it hangs on the machine's setting.
func TestHintIsNoPartOfTheReason(t *testing.T) {
	allowed, err := linux.NonlocalBind(false)
	if err != nil {
		t.Fatal(err) // every kernel with IPv4 has it
	}
	effect := map[string]node.Effect{"nginx": {}, "page": {}}
	d := newDaemon(&config.Config{
		Node: "lb1", Instances: []node.Instance{{Name: "web", Checks: effect}}, Checks: []config.Check{{Name: "nginx"}, {Name: "page"}, {Name: "other"}},
	}, Options{Log: hclog.NewNullLogger()})
	close(d.ended)
	status := node.Status{Instances: []node.InstanceStatus{{Name: "web", State: node.Backup, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")}}}}
	d.snapshot.Store(&status)
	for _, r := range []checks.Result{{Check: "nginx", Absent: true}, {Check: "page", Healthy: true, Absent: true}, {Check: "other", Absent: true}} {
		r.Known, r.Changed, r.Reason = true, true, "refused"
		d.checked(r)
	}
	for _, c := range d.Report().Checks {
		if c.Reason != "refused" {
			t.Errorf("%s: the reason is %q", c.Name, c.Reason)
		}
		if got, want := strings.Contains(c.Hint, "ip_nonlocal_bind"), c.Name == "nginx" && !allowed; got != want {
			t.Errorf("%s: the hint is %q, want one: %v", c.Name, c.Hint, want)
		}
	}
	status.Instances[0].State, status.Instances[0].Holding = node.Master, true
	if c := d.Report().Checks[0]; c.Hint != "" {
		t.Errorf("a host with the addresses gets the hint %q", c.Hint)
	}
}
