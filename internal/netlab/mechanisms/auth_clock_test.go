package mechanisms

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// clockBehind is how far the master's clock is behind in TestClockBehind: within the window of 5 s, also on a busy machine, and so
// far that a host which would not hear it until it had passed that host's start would have risen long before.
const clockBehind = 4 * time.Second

// TestClockBehind tells of a host that boots, and that has never heard of the master, whose clock is behind: it stays backup. Once
// that clock has passed its start it follows, and when the master is silent it takes over.
func TestClockBehind(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, authenticated(1, 1))
	giveKeys(t, c)
	lb2 := c.Get("lb2")
	link := newTap(t, c.User)
	auth := &vrrp.Auth{Active: 1, Window: 5 * time.Second, Keys: []vrrp.Key{{ID: 1, Secret: vrrp.NewSecret([]byte(keyOf(1)))}}}
	// The Ethernet and IPv4 headers of an advert to the group, for 10.0.0.11 to speak with.
	like := append([]byte{0x01, 0, 0x5e, 0, 0, 18, 0, 0, 0, 0, 0, 0, 8, 0, 0x45, 0xc0, 0, 0, 0, 0, 0, 0, 255, vrrp.ProtocolNumber, 0, 0, 0, 0, 0, 0}, vrrp.GroupIPv4.AsSlice()...)
	speak := func(until time.Time) {
		for next := time.Now(); next.Before(until); next = next.Add(authInterval) {
			pairtest.Until(t, next)
			link.play(t, forged(like, "10.0.0.11", messageAt(t, time.Now().Add(-clockBehind), "10.0.0.11", 150, authInterval, auth)))
		}
	}

	lb2.Start(t)
	began := time.Now()
	// Beyond what it would wait for an advert that it does not hear, 1.8 s, and until that clock has passed its start.
	speak(began.Add(clockBehind - time.Second))
	i := status(t, lb2)
	if i.State != node.Backup || i.LastChange.From != node.Init || early(i) == 0 || len(i.Routers[0].Refused) > 0 {
		t.Errorf("lb2 is %s since %+v, heard %d early, refused %v", i.State, i.LastChange, early(i), i.Routers[0].Refused)
	}
	speak(began.Add(clockBehind + 3*authInterval))
	i = status(t, lb2)
	senders := i.Routers[0].Auth.Senders
	if i.State != node.Backup || len(senders) != 1 || senders[0].Ahead > -clockBehind || len(i.Routers[0].Refused) > 0 {
		t.Errorf("lb2 is %s, knows of %+v, refused %v", i.State, senders, i.Routers[0].Refused)
	}
	lb2.Says(t, `early from 10\.0\.0\.11 .*that clock is behind \(set both by NTP\)`, time.Second)
	lb2.Says(t, `clock-skew from 10\.0\.0\.11`, time.Second)
	c.Only(t, "lb2", settleBound)
}
