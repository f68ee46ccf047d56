package examples

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// cloud is the pair of the example, and the API. ARP and multicast do not help here: the user reaches the address by the API's route.
type cloud struct {
	*lab
	api      *cloudAPI
	lb1, lb2 *machine
	vip      netip.Addr
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	labtest.Require(t, "curl")
	l := newLab(t, network{hosts: []string{"lb1", "lb2"}, own: []string{"10.0.0.%d/24"}, vips: map[string]time.Duration{"203.0.113.10": every}})
	c := &cloud{lab: l, lb1: l.machines["lb1"], lb2: l.machines["lb2"], vip: l.VIPs[0]}
	c.api = &cloudAPI{
		address: c.vip.String(), gateway: l.User, servers: map[string]string{"server-1": "10.0.0.11", "server-2": "10.0.0.12"},
	}
	const name, ip = "api.cloud.example", "10.0.0.50"
	serveCloudAPI(t, c.api, name, ip)
	l.serves(t)
	l.all(func(m *machine) {
		pairtest.Step(t, func() error { return m.Firewall(t.Context(), netlab.DropIn("ip daddr 224.0.0.0/4")) })
		m.write(t, "/etc/hosts", ip+" "+name+"\n", 0o644)
		m.write(t, "/etc/ssl/certs/ca-certificates.crt", c.api.ca, 0o644)
		m.follow(t, "cloud/README.md", "echo "+cloudToken+" >token; exec <token\n"+commands(t, "cloud/README.md", "cloud.token)"))
		m.valid(t)
	})
	return c
}

// hook runs the hook by hand, as the README tells, and returns what it says, and its status as the last line.
func (c *cloud) hook(t *testing.T, m *machine) string {
	t.Helper()
	by := strings.TrimSpace(commands(t, "cloud/README.md", "INSTANCE web MASTER"))
	return m.sh(t, "{ "+by+" && echo status 0; } || echo status $?")
}

// TestCloud moves the address with nginx's death, and back by a drain.
func TestCloud(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.lb1.Start(t)
	c.Only(t, "lb1", pairtest.SettleBound)
	c.api.has(t, "server-1")
	c.lb2.Start(t)
	c.Settled(t, "lb1")
	c.servedBy(t, c.vip, "lb1")

	t.Run("nginx dies", func(t *testing.T) {
		c.api.fails(1)
		from := pairtest.Step(t, func() error { c.lb1.killNginx(t); return nil })
		c.api.has(t, "server-2")
		c.servedBy(t, c.vip, "lb2")
		c.Moved(t, c.vip, from, "lb2")
		eventually(t, func() (bool, string) { return c.hookSays(t, c.lb2, "203.0.113.10: assigned to server-2") })
		c.lb1.startNginx(t)
		c.Settled(t, "lb2")
	})
	t.Run("by a host that is not master", func(t *testing.T) {
		says := ""
		calls := c.api.during(func() { says = c.hook(t, c.lb1) })
		if calls != "" || !strings.HasSuffix(says, "not master of web any more\nstatus 1\n") {
			t.Errorf("the hook called %q and says %q", calls, says)
		}
	})
	c.lb2.sh(t, "understudy drain")
	c.api.has(t, "server-1")
	c.servedBy(t, c.vip, "lb1")
}

// TestCloudFails has the API fail in its ways.
func TestCloudFails(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.lb1.Start(t)
	c.Only(t, "lb1", pairtest.SettleBound)
	c.api.has(t, "server-1")
	for _, tt := range []struct {
		name         string
		do           func()
		calls, wants string
	}{
		{"again", func() {}, "GET 200", "203.0.113.10: assigned to server-1\nstatus 0\n"},
		{"once in a while it fails", func() { c.api.fails(2) }, "GET 503, GET 503, GET 200", "203.0.113.10: assigned to server-1\nstatus 0\n"},
		{"it fails", func() { c.api.fails(5) }, "GET 503, GET 503, GET 503, GET 503, GET 503",
			"203.0.113.10: not assigned to server-1 after 5 attempts: the API answers 503\nstatus 1\n"},
		{"the token is wrong", func() { c.lb1.write(t, "/etc/understudy/cloud.token", "other\n", 0o600) }, "GET 401",
			"203.0.113.10: not assigned to server-1: the API answers 401, and would again\nstatus 1\n"},
		{"there is no token", func() { c.lb1.write(t, "/etc/understudy/cloud.token", "\n", 0o600) }, "",
			"/etc/understudy/cloud.token is empty: it should hold the API's token\nstatus 1\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.do()
			says := ""
			if calls := c.api.during(func() { says = c.hook(t, c.lb1) }); calls != tt.calls || says != tt.wants {
				t.Errorf("the hook called %q and says %q, want %q and %q", calls, says, tt.calls, tt.wants)
			}
			if !c.api.isOwner("server-1") {
				t.Error("another server has the address now")
			}
		})
	}
}

// hookSays looks for what the hook's last run on a machine ended with.
func (c *cloud) hookSays(t *testing.T, m *machine, want string) (bool, string) {
	t.Helper()
	r, err := m.Report(t)
	if err != nil {
		return false, err.Error()
	}
	for _, h := range r.Hooks {
		if strings.Contains(h.Output, want) {
			return true, ""
		}
	}
	return false, "no hook says " + want
}
