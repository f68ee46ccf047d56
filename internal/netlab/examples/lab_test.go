package examples

import (
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// every is how often a client connects.
const every = 10 * time.Millisecond

// network is what an example takes for granted.
type network struct {
	hosts []string
	// own are the addresses of each host's eth0, with %d for its number: 11 and on. The user has number 50, and a host that
	// nothing happens to 60.
	own []string
	// inside is an address of each host's eth1; without it there is none.
	inside string
	vips   map[string]time.Duration
}

// pairNetwork is that of most examples.
var pairNetwork = network{
	hosts: []string{"lb1", "lb2"}, own: []string{"192.0.2.%d/24", "2001:db8::%d/64"},
	vips: map[string]time.Duration{"192.0.2.10": every, "2001:db8::10": every},
}

// lab is an example's hosts, and a user.
type lab struct {
	*pairtest.Cluster
	machines map[string]*machine
	memory   string // a directory in memory, for what else has files; the machines' names are taken
}

// newLab makes the machines of a network, with nothing on them.
func newLab(t *testing.T, n network) *lab {
	t.Helper()
	memory := memoryDir(t)
	l := &lab{machines: map[string]*machine{}, memory: memory}
	wires := labtest.New(t)
	number := func(format string, number int) string { return fmt.Sprintf(format, number) }
	add := func(name string, at int) (h *netlab.Host, inside *netlab.Link) {
		var own []string
		for _, format := range n.own {
			own = append(own, number(format, at))
		}
		h = labtest.Host(t, wires, name, own...)
		if n.inside != "" {
			inside = labtest.Link(t, h, "eth1", number(n.inside, at))
		}
		return h, inside
	}
	var servers []*pairtest.Server
	for i, name := range n.hosts {
		h, inside := add(name, 11+i)
		m := boot(t, h, filepath.Join(memory, name))
		m.Inside = inside
		m.bring(t)
		l.machines[name] = m
		servers = append(servers, m.Server)
	}
	user, _ := add("user", 50)
	l.Cluster = pairtest.Of(t, wires, user, servers, number(n.own[0], 60), n.vips)
	t.Cleanup(func() {
		for _, name := range n.hosts {
			if t.Failed() {
				t.Logf("syslog of %s:\n%s", name, l.machines[name].syslog)
			}
		}
	})
	return l
}

// all does something on every machine, in order.
func (l *lab) all(do func(m *machine)) {
	for _, h := range l.Hosts {
		do(l.machines[h.Name()])
	}
}

// Start starts the daemon as its unit does: with no flags.
func (m *machine) Start(t testing.TB) {
	t.Helper()
	m.daemon = m.serve(t, "understudy", "run")
	m.Daemon = m.daemon.Proc
}

// Stop stops it.
func (m *machine) Stop(t testing.TB) {
	t.Helper()
	m.daemon.stop(t)
}

// serves gives every machine nginx with the site.
func (l *lab) serves(t testing.TB) {
	t.Helper()
	l.all(func(m *machine) {
		m.installNginx(t, "", map[string]string{"site.conf": site})
		m.startNginx(t)
	})
}

// starts does on every machine what the head of an example tells to do there, and starts the daemons.
func (l *lab) starts(t testing.TB, config string) {
	t.Helper()
	commands := header(t, config)
	l.all(func(m *machine) {
		m.follow(t, config, commands)
		m.valid(t)
		m.Start(t)
	})
}

// stays waits until every host is well, and asserts that the addresses stay for longer than a better host would wait with them.
func (l *lab) stays(t testing.TB, owner string) {
	t.Helper()
	const election = 4 * time.Second // at the default interval
	from := time.Now()
	l.Settled(t, owner)
	l.Rests(t, from, time.Now().Add(election))
}

// valid asserts that the machine finds nothing wrong with its configuration, and misses nothing.
func (m *machine) valid(t testing.TB) {
	t.Helper()
	m.sh(t, "understudy validate --here --strict")
}

// tells waits until a hook on the machine has written more than so many lines to syslog that match.
func (m *machine) tells(t testing.TB, pattern string, before int) {
	t.Helper()
	labtest.Eventually(t, bootBound, func() (bool, string) {
		return m.syslog.count(pattern) > before, fmt.Sprintf("the syslog of %s has no more than %d of %q", m.Name(), before, pattern)
	})
}

// isMaster waits until the machine's instance is master, and no longer in the middle of something.
func (m *machine) isMaster(t testing.TB, instance string) {
	t.Helper()
	m.AwaitInstance(t, instance, pairtest.SettleBound, func(i node.InstanceStatus) bool { return i.State == node.Master && i.Confirmed })
}

// eventually waits for what takes as long as a program takes to start.
func eventually(t testing.TB, cond func() (bool, string)) {
	t.Helper()
	labtest.Eventually(t, bootBound, cond)
}

// servedBy waits until the client of an address is answered by some servers, all of them and no other.
func (l *lab) servedBy(t testing.TB, vip netip.Addr, servers ...string) {
	t.Helper()
	const enough = 200 * time.Millisecond
	labtest.Eventually(t, bootBound, func() (bool, string) {
		saw := l.Clients[vip].Between(time.Now().Add(-enough), time.Now())
		got := slices.Sorted(maps.Keys(saw.Servers()))
		return slices.Equal(got, servers) && len(saw.Failed()) == 0, fmt.Sprintf("%v is not served by %v alone: %v", vip, servers, saw)
	})
}
