package interop

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// shadow is a daemon of ours that only watches, on a host where another runs.
type shadow struct {
	host *pairtest.Server
	run  string
	proc *netlab.Proc
}

func startShadow(t *testing.T, h *pairtest.Server) *shadow {
	t.Helper()
	s := &shadow{host: h, run: filepath.Join(h.Dir(), "shadow")}
	var err error
	s.proc, err = h.Host.Start(program, "run", "--shadow", "--config", h.ConfigFile(), "--node", h.Name(),
		"--runtime-dir", s.run, "--state-dir", filepath.Join(h.Dir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the shadow on %s:\n%s", h.Name(), s.proc.Output())
		}
	})
	return s
}

// instance is what the shadow would be.
func (s *shadow) instance(t *testing.T) (node.InstanceStatus, error) {
	r, err := control.Dial(s.run).Report(t.Context())
	if err != nil {
		return node.InstanceStatus{}, err
	}
	return r.Node.Instances[0], nil
}

// agrees waits until the shadow agrees with its host, or differs, and returns what it says.
func (s *shadow) agrees(t *testing.T, want bool) node.InstanceStatus {
	t.Helper()
	var last node.InstanceStatus
	labtest.Eventually(t, settleBound, func() (bool, string) {
		var err error
		if last, err = s.instance(t); err != nil {
			return false, err.Error()
		}
		return last.Compared != nil && last.Compared.Agrees == want, fmt.Sprintf("the shadow on %s says %+v", s.host.Name(), last.Compared)
	})
	return last
}

func (s *shadow) stop(t *testing.T) {
	t.Helper()
	if err := s.proc.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.proc.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// became is when the shadow's log says that it would become something, the last time.
func (s *shadow) became(t *testing.T, state string) time.Time {
	t.Helper()
	lines := regexp.MustCompile(`(?m)^(\S+) .* would become `+state+`: `).FindAllStringSubmatch(s.proc.Output(), -1)
	if len(lines) == 0 {
		t.Fatalf("the shadow on %s never would become %s:\n%s", s.host.Name(), state, s.proc.Output())
	}
	at, err := time.Parse(time.RFC3339, lines[len(lines)-1][1])
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestShadowBesideKeepalived tells of a shadow on each host of a keepalived pair, and on one where nothing else runs: over a stop and a
// return it says what keepalived does, when keepalived does it; it sends nothing, and leaves the hosts as they are.
func TestShadowBesideKeepalived(t *testing.T) {
	for _, r := range pairs {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			newMigration(t, r.make, r.opts).watchShadows(t)
		})
	}
}

func (m *migration) watchShadows(t *testing.T) {
	t.Helper()
	before := m.picture(t)
	// The kernel solicits routers and reports its groups by itself.
	all := leaves(t, m.lb3, "not (icmp6 and (ip6[40] = 133 or ip6[40] = 143)) and not (ip6[6] = 0 and ip6[48] = 143)")
	adverts := leaves(t, m.lb1, "proto 112 or ip6 proto 112")
	s1, s2, s3 := startShadow(t, m.lb1), startShadow(t, m.lb2), startShadow(t, m.lb3)
	for _, s := range []*shadow{s1, s2, s3} {
		s.agrees(t, true)
	}
	if i := s1.agrees(t, true); i.State != node.Master || i.Routers[0].Own == nil || i.Routers[0].Own.Priority != better || len(i.Routers[0].Own.Differs) > 0 {
		t.Errorf("the shadow beside the master: %+v, %+v", i, i.Routers[0].Own)
	}
	if i := s2.agrees(t, true); len(i.Routers[0].Speakers) != 1 || i.Routers[0].Speakers[0].MAC == "" {
		t.Errorf("the shadow on lb2 hears %+v, want lb1 with its MAC address", i.Routers[0].Speakers)
	}
	from, sent := time.Now(), count(adverts)
	m.Rests(t, from, from.Add(3*time.Second))
	if n := count(adverts) - sent; n < 2 || n > 4 {
		t.Errorf("%d adverts left lb1 in 3 s, want keepalived's one a second", n)
	}
	if now := m.picture(t); now != before {
		t.Errorf("the hosts were\n%s\nand are\n%s", before, now)
	}
	m.over(t, s1, s2)
	for _, s := range []*shadow{s1, s2, s3} {
		s.stop(t)
	}
	if now := m.picture(t); now != before {
		t.Errorf("the hosts were\n%s\nand are in the end\n%s", before, now)
	}
	if n := count(all); n > 0 {
		t.Errorf("%d packets left a host on which only a shadow ran:\n%s", n, all.Output())
	}
}

// TestShadowContrast tells of a shadow whose configuration is not what keepalived says: it names each field that would be another
// one on the wire, and no other.
func TestShadowContrast(t *testing.T) {
	tests := []struct {
		name         string
		theirs, ours options
		priority     int
		differs      []string // how each difference begins
	}{
		{"VRRPv2 with PASS", options{version: 2, vip: vip4, theirs: theirPassword}, options{version: 3, vip: vip4, ours: []string{`advertise_interval = "2s"`}}, worse,
			[]string{"version 2, here 3", "priority 150, here 100", "interval 1s, here 2s", "auth VRRPv2's password, here none"}},
		{"another password", options{version: 2, vip: vip4, theirs: theirPassword}, options{version: 2, vip: vip4, ours: []string{"auth {", `  password = "resting"`, "}"}}, better,
			[]string{"auth VRRPv2's password, here another password"}},
		{"no password", options{version: 2, vip: vip4}, options{version: 2, vip: vip4, ours: ourPassword}, better, []string{"auth none, here VRRPv2's password"}},
		{"the other checksum", options{version: 3, vip: vip4}, options{version: 3, vip: vip4, checksum: "rfc9568"}, better, []string{"checksum pseudo-header, here rfc9568"}},
		{"a virtual MAC there", options{version: 3, vip: vip4, theirs: theirVirtualMAC}, options{version: 3, vip: vip4}, better, []string{"MAC 00:00:5e:00:01:47, here "}},
		{"a virtual MAC on both sides, over IPv6", options{version: 3, vip: vip6, theirs: theirVirtualMAC}, options{version: 3, vip: vip6, ours: ourVirtualMAC}, better,
			[]string{"source fe80:"}},
		{"unicast there, with a TTL of its own", options{version: 3, vip: vip4, unicast: true, theirs: []string{"unicast_ttl 64"}}, options{version: 3, vip: vip4}, better,
			[]string{"destination [10.0.0.12], here 224.0.0.18", "TTL 64, here 255"}},
		{"unicast on both sides, over IPv6", options{version: 3, vip: vip6, unicast: true, routed: true}, options{version: 3, vip: vip6, unicast: true, routed: true}, better,
			[]string{"hop limit 64, here 255"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, newKeepalived, tt.theirs)
			m.lb1.Configure(t, tt.ours.understudy(tt.priority))
			s := startShadow(t, m.lb1)
			s.contrasts(t, tt.differs)
			s.stop(t)
		})
	}
}

// contrasts waits until the shadow names just these differences, in its status and its log.
func (s *shadow) contrasts(t *testing.T, want []string) {
	t.Helper()
	labtest.Eventually(t, settleBound, func() (bool, string) {
		i, err := s.instance(t)
		if err != nil {
			return false, err.Error()
		}
		own := i.Routers[0].Own
		if own == nil || len(own.Differs) != len(want) {
			return false, fmt.Sprintf("the shadow on %s says %+v, want %q", s.host.Name(), own, want)
		}
		for k, begin := range want {
			if !strings.HasPrefix(own.Differs[k], begin) || !strings.Contains(s.proc.Output(), own.Differs[k]) {
				return false, fmt.Sprintf("the shadow on %s says %q, want %q, in its log too", s.host.Name(), own.Differs[k], begin)
			}
		}
		return true, ""
	})
}

// over stops the better keepalived and starts it again.
func (m *migration) over(t *testing.T, s1, s2 *shadow) {
	t.Helper()
	together := func(what string, a, b time.Time) {
		t.Helper()
		if d := a.Sub(b).Abs(); d > late+m.Slack(b.Add(-time.Second), time.Now()) {
			t.Errorf("%s: keepalived at %s, the shadow at %s", what, pairtest.Stamp(b), pairtest.Stamp(a))
		}
	}
	from := time.Now()
	m.first.stop(t)
	m.serves(t, from, "lb2", settleBound)
	s2.agrees(t, true)
	together("taken over", s2.became(t, "master"), m.changed(t, "lb2", from, true))
	// Beside the one that was stopped it goes on: why that was is not known to it.
	if i := s1.agrees(t, false); !strings.Contains(i.Compared.Why, "this host gave the addresses up (priority 0)") {
		t.Errorf("the shadow on lb1 says %q", i.Compared.Why)
	}

	from = time.Now()
	m.first.start(t)
	m.serves(t, from, "lb1", settleBound)
	s1.agrees(t, true)
	s2.agrees(t, true)
	together("given back", s2.became(t, "backup"), m.changed(t, "lb2", from, false))
}

// changed is when a host got or lost the address after an instant.
func (m *migration) changed(t *testing.T, host string, from time.Time, held bool) time.Time {
	t.Helper()
	for _, c := range m.Owners.History() {
		if c.Host == host && c.Addr == m.opts.vip && c.Held == held && c.At.After(from) {
			return c.At
		}
	}
	t.Fatalf("%s: held=%t never since %s", host, held, pairtest.Stamp(from))
	return time.Time{}
}

// picture is what a shadow must leave alone: addresses, routes, links and group memberships.
func (m *migration) picture(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, h := range []*pairtest.Server{m.lb1, m.lb2} {
		snapshot, err := h.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		links, err := h.Exec(t.Context(), "sh", "-c", "ip -o link show 2>/dev/null; ip maddr show")
		if err != nil {
			t.Fatal(err)
		}
		// How many have asked for a group's frames is counted; and other labs come and go, by which the peer's number changes.
		fmt.Fprintf(&b, "%s\n%s%s", h.Name(), snapshot, regexp.MustCompile(` users \d+| link-netns(id)? \S+`).ReplaceAllString(links, ""))
	}
	return b.String()
}

// leaves captures what leaves a host.
func leaves(t *testing.T, h *pairtest.Server, filter string) *netlab.Proc {
	t.Helper()
	p, err := h.Host.Start("tcpdump", "-lnn", "--immediate-mode", "-Q", "out", "-i", netlab.Interface, filter)
	if err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, settleBound, func() (bool, string) {
		return strings.Contains(p.Output(), "listening on"), "tcpdump says " + p.Output()
	})
	return p
}

// count is how many packets a capture has.
func count(p *netlab.Proc) int { return strings.Count(p.Output(), " > ") }
