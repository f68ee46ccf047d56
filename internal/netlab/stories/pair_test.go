package stories

import (
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// The pair's addresses.
var (
	slow4 = netip.MustParseAddr("10.0.0.100") // default interval
	fast6 = netip.MustParseAddr("fd00::100")
	both4 = netip.MustParseAddr("10.0.0.101")
	both6 = netip.MustParseAddr("fd00::101")
	old4  = netip.MustParseAddr("10.0.0.102") // VRRPv2
)

// pairShape is a pair as many run it, with one instance for each family and version. Its hooks are always there, the one that
// hangs too: it must not be noticed in any story.
var pairShape = pairtest.Shape{
	Hosts: []string{"lb1", "lb2"},
	VIPs: map[string]time.Duration{
		"10.0.0.100": 5 * time.Millisecond, "fd00::100": 10 * time.Millisecond, "10.0.0.101": 50 * time.Millisecond,
		"fd00::101": 20 * time.Millisecond, "10.0.0.102": 20 * time.Millisecond,
	},
	Config: `
instance "v4" {
  interface = "eth0"
  vrid      = 1
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.100"]
  expect "lb1" {}
  expect "lb2" {}
}
instance "v6" {
  interface          = "eth0"
  vrid               = 2
  priority           = { lb1 = 150, lb2 = 100 }[hostname]
  addresses          = ["fd00::100"]
  advertise_interval = "200ms"
}
instance "both" {
  interface          = "eth0"
  vrid               = 3
  priority           = { lb1 = 150, lb2 = 100 }[hostname]
  addresses          = ["10.0.0.101", "fd00::101"]
  advertise_interval = "200ms"
}
instance "v2" {
  interface = "eth0"
  vrid      = 4
  version   = 2
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.102"]
}
check "process" "nginx" {
  pid_file = "LAB/${hostname}/nginx/nginx.pid"
}
check "http" "page" {
  url      = "http://127.0.0.1/healthz"
  interval = "400ms"
}
notify "script" "tell" {
  on        = ["master", "backup", "fault", "stop"]
  instances = ["v4"]
  command   = ["SCRIPTS/tell", "an argument"]
}
notify "nginx" "reload" {
  on     = ["master"]
  config = "LAB/${hostname}/nginx/nginx.conf"
  prefix = "LAB/${hostname}/nginx"
}
notify "script" "hang" {
  on        = ["master", "backup"]
  instances = ["v6"]
  command   = ["SCRIPTS/hang"]
  timeout   = "2s"
}
`,
}

// pairScripts are the hooks.
var pairScripts = map[string]string{
	"tell": `shift; echo "$*" >>"$0.$UNDERSTUDY_NODE"; [ "$3" != STOP ] || ip -oneline address show dev eth0 >"$0.$UNDERSTUDY_NODE.stop"`,
	"hang": `exec sleep 60`,
}

// pairStory is what happens to the pair. It begins and ends with everything on lb1.
type pairStory struct {
	name string
	tell func(*testing.T, *pairtest.Cluster)
}

// TestPair tells what happens to the daemons and the hosts of a pair.
func TestPair(t *testing.T) {
	t.Parallel()
	tellOfPair(t, []pairStory{
		{"an address is deleted by hand", deletedByHand},
		{"the daemon is stopped", daemonStopped},
		{"the daemon is killed", daemonKilled},
		{"the daemon is killed and started again", daemonRestarted},
		{"the host is cut off and healed", hostCutOff},
		{"the cable is pulled", carrierLost},
		{"packets that are no adverts of a peer", strangePackets},
	})
}

// TestPairsNginx tells what happens to the nginx that they serve with.
func TestPairsNginx(t *testing.T) {
	t.Parallel()
	tellOfPair(t, []pairStory{
		{"nginx is killed", nginxKilled},
		{"nginx on the backup is killed", backupKilled},
		{"the health page answers 500", healthPage500},
		{"nginx hangs", nginxHangs},
		{"nginx is upgraded", nginxUpgraded},
	})
}

// tellOfPair tells stories of one pair, one after another.
func tellOfPair(t *testing.T, stories []pairStory) {
	t.Helper()
	c := newCluster(t, pairShape, pairScripts)
	from := time.Now()
	c.Start(t)
	c.Settled(t, "lb1")
	for _, vip := range c.VIPs {
		// The other one may have been first, when its daemon started sooner.
		if moves := c.Owners.History().Moves(vip, from, time.Now()); moves > 1 {
			t.Errorf("%v moved %d times in the first election", vip, moves)
		}
		c.Overlap(t, vip, from, pairtest.Lingers)
	}
	for _, story := range stories {
		ok := t.Run(story.name, func(t *testing.T) {
			story.tell(t, c)
			c.Settled(t, "lb1")
		})
		if !ok {
			c.Restore(t)
			c.Settled(t, "lb1")
		}
	}
}
