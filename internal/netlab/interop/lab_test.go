package interop

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

const (
	// settleBound is how long an election may take in all, with checks and a busy machine.
	settleBound = 20 * time.Second
	// every is how often the client connects.
	every = 5 * time.Millisecond
	// alone is for how long only one host must answer to count as the one that serves.
	alone = 100 * time.Millisecond
	// retransmit is how long a connection takes at least whose first packet was lost.
	retransmit = 900 * time.Millisecond
)

// lab is our host and theirs, a client, and what records them.
type lab struct {
	*pairtest.Cluster
	opts   options
	us     *pairtest.Server
	them   *pairtest.Server
	peer   peer
	client *netlab.Client
	wire   *netlab.Proc // prints what the user sees of elections and moves
	ill    bool         // our check fails
	book   *ledger
	bills  []bill // of this lab alone
}

// newLab makes two hosts on which nothing runs but nginx.
func newLab(t *testing.T, o options, make maker, ours, theirs int) *lab {
	t.Helper()
	c := pairtest.New(t, pairtest.Shape{
		Program: program, Hosts: []string{"ours", "theirs"}, Config: o.understudy(ours), VIPs: map[string]time.Duration{o.vip.String(): every},
	})
	l := &lab{Cluster: c, opts: o, us: c.Get("ours"), them: c.Get("theirs"), client: c.Clients[o.vip]}
	l.peer = make(t, l.them, o, theirs)
	l.watch(t)
	return l
}

// watch has the user's host print what it sees of elections and moves: who was announced when, and all of it for a test that fails.
func (l *lab) watch(t *testing.T) {
	t.Helper()
	labtest.Require(t, "tcpdump")
	p, err := l.User.Start("tcpdump", "-ttttlnne", "--immediate-mode", "-i", netlab.Interface, "arp or proto 112 or ip6 proto 112 or icmp6")
	if err != nil {
		t.Fatal(err)
	}
	l.wire = p
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		t.Logf("the user saw:\n%s", p.Output())
		ctx, cancel := context.WithTimeout(context.Background(), settleBound)
		defer cancel()
		for _, h := range l.Lab.Hosts() {
			out, err := h.Exec(ctx, "sh", "-c", "ip neigh show; ip -6 route show; ip address show")
			t.Logf("%s has, %v:\n%s", h.Name(), err, out)
		}
	})
}

// instance asks our daemon.
func instance(t *testing.T, h *pairtest.Server) (node.InstanceStatus, error) {
	r, err := control.Dial(h.Run).Report(t.Context())
	if err != nil {
		return node.InstanceStatus{}, err
	}
	for _, i := range r.Node.Instances {
		if i.Name == "web" {
			return i, nil
		}
	}
	return node.InstanceStatus{}, errors.New("no instance web")
}

// serves waits until only one host answers the client, and returns when that one's first answer came.
func (l *lab) serves(t *testing.T, from time.Time, host string, bound time.Duration) time.Time {
	t.Helper()
	labtest.Eventually(t, bound, func() (bool, string) {
		saw := l.client.Between(time.Now().Add(-alone), time.Now())
		return len(saw.List) > 0 && len(saw.Servers()) == 1 && saw.LastServer() == host, fmt.Sprintf("%s does not answer alone: %v", host, saw)
	})
	for _, a := range l.client.Between(from, time.Now()).List {
		if a.Server == host {
			return a.Start
		}
	}
	return time.Now()
}

// settles waits until our daemon is master or backup with nothing under way, and knows how its check is.
func (l *lab) settles(t *testing.T, master bool) {
	t.Helper()
	labtest.Eventually(t, settleBound, func() (bool, string) {
		i, err := instance(t, l.us)
		if err != nil {
			return false, err.Error()
		}
		ok := master && i.State == node.Master && i.Confirmed || !master && i.State == node.Backup && !i.Holding
		return ok && len(i.Unhealthy) > 0 == l.ill, fmt.Sprintf("ours is %s: %s %v", i.State, i.Why, i.Unhealthy)
	})
}

// cost is what a client paid for a step.
type cost struct {
	outage        time.Duration
	refused, lost int           // new connections
	early         int           // lost ones beside these, which were led to their host before it had the address
	unready       time.Duration // for how long that was so, if it cost any
	stall         time.Duration // what the client itself was late
	slack         time.Duration // for how long the machine stood still, if it was long enough to cost a host that serves on connections
	stood         time.Duration // and however short it was
	excuse        time.Duration // what that may add to a bound
	saw           netlab.Attempts
}

// paid sums up a client's connections since an instant, and a little more: it follows the announcement.
func (l *lab) paid(t *testing.T, from time.Time) cost {
	t.Helper()
	pairtest.Until(t, time.Now().Add(alone))
	saw := l.client.Between(from, time.Now())
	c := cost{outage: saw.Outage(), stall: saw.Stall() - every, slack: l.Slack(from, time.Now()), stood: l.Stood(from, time.Now()), saw: saw}
	c.excuse = c.stall + 2*c.slack // two daemons act one after the other, and each may meet it
	e := l.early(from)
	for _, a := range saw.List {
		lost := a.Err != nil && a.Established == 0 && !errors.Is(a.Err, syscall.ECONNRESET) || a.Established >= retransmit
		switch {
		case errors.Is(a.Err, syscall.ECONNREFUSED):
			c.refused++
		case lost && e.took(a):
			c.early++
			c.unready = e.lasted()
		case lost:
			c.lost++
		}
	}
	return c
}

// hiccup is what a single step may cost beyond its bound: keepalived, FRR or the kernel may come to a processor late, which the client
// does not notice. A pattern is none; see ledger.
const hiccup = 50 * time.Millisecond

// atMost asserts a bound: for how long nobody answered, that no connection was refused, and how many new ones were lost. A machine
// that stood still excuses as much as it did, and a hiccup is none.
func (c cost) atMost(t *testing.T, outage time.Duration, lost loss) {
	t.Helper()
	if c.outage > outage+c.excuse+c.unready+hiccup {
		t.Errorf("nobody answered for %v, want at most %v and %v for a machine that stood still\n%v", c.outage, outage, c.excuse, c.saw)
	}
	if c.refused > 0 {
		t.Errorf("%d connections were refused\n%v", c.refused, c.saw)
	}
	if limit := c.limit(lost) + int(hiccup/every); c.lost > limit {
		t.Errorf("%d new connections were lost, want at most %d\n%v", c.lost, limit, c.saw)
	}
	t.Logf("%d lost, and %d in %v for which they had yet to get the address, the machine stood still for %v: %v", c.lost, c.early, c.unready, c.stood, c.saw)
}

// limit is how many new connections may be lost.
func (c cost) limit(lost loss) int {
	switch lost {
	case few: // each of two daemons may meet what the machine stood still
		return int((moment + c.stood + c.slack) / every)
	case gone:
		return int((c.outage + c.slack) / every)
	default:
		return int(c.slack / every)
	}
}
