package mechanisms

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// mistake is an error of the administrator that makes each of two hosts refuse the other's adverts, so that both become master.
type mistake struct {
	name  string
	host1 string                                  // more of the instance on lb1,
	host2 func(*testing.T, *pairtest.Server) bool // and what the mistake is on lb2; it says whether that runs understudy, too
	from  [2]string                               // whose adverts lb1 and lb2 refuse,
	why   [2]string                               // and why
}

// alarm is a hook that a contention runs.
const alarm = `
notify "script" "alarm" {
  on      = ["contention"]
  command = ["SCRIPTS/alarm"]
}
`

// refusing is the configuration of a host.
func refusing(more string) string { return instance(more) + page + alarm }

// renumber has lb2 use lb1's own address.
func renumber(t *testing.T, h *pairtest.Server) {
	t.Helper()
	pairtest.Step(t, func() error {
		_, err := h.Exec(t.Context(), "sh", "-c", "ip address del 10.0.0.12/24 dev eth0 && ip address add 10.0.0.11/24 brd + dev eth0")
		return err
	})
}

var mistakes = []mistake{
	{"the same address, equal priorities", `advertise_interval = "200ms"`, func(t *testing.T, h *pairtest.Server) bool {
		renumber(t, h)
		h.Configure(t, strings.Replace(refusing(`advertise_interval = "200ms"`), "lb2 = 100", "lb2 = 150", 1))
		return true
	}, [2]string{"10.0.0.11", "10.0.0.11"}, [2]string{
		"another host uses this host's own address 10.0.0.11, and advertises priority 150 from it; give each host an address of its own",
		"another host uses this host's own address 10.0.0.11, and advertises priority 150 from it; give each host an address of its own",
	}},
	{"the same address, different priorities", `advertise_interval = "200ms"`, func(t *testing.T, h *pairtest.Server) bool {
		renumber(t, h)
		return true
	}, [2]string{"10.0.0.11", "10.0.0.11"}, [2]string{
		"another host uses this host's own address 10.0.0.11, and advertises priority 100 from it; give each host an address of its own",
		"another host uses this host's own address 10.0.0.11, and advertises priority 150 from it; give each host an address of its own",
	}},
	{"another interval in VRRPv2", "version = 2", func(t *testing.T, h *pairtest.Server) bool {
		h.Configure(t, refusing("version = 2\n  advertise_interval = \"2s\""))
		return true
	}, [2]string{"10.0.0.12", "10.0.0.11"}, [2]string{
		"its interval is 2s, this host's 1s, and VRRPv2 demands the same: both hosts become master; write the same advertise_interval on all hosts",
		"its interval is 1s, this host's 2s, and VRRPv2 demands the same: both hosts become master; write the same advertise_interval on all hosts",
	}},
	{"keepalived with VRRPv2", "", func(t *testing.T, h *pairtest.Server) bool {
		web, _, _ := strings.Cut(keepalivedConfig, "vrrp_instance old")
		pairtest.StartKeepalived(t, h.Host, strings.Replace(web, "version 3", "version 2", 1))
		return false
	}, [2]string{"10.0.0.12", ""}, [2]string{"it speaks VRRPv2, this instance VRRPv3; write the same version on all hosts", ""}},
}

// TestRefusedMaster tells of mistakes by which each of two hosts refuses the other's adverts, and both are master. Each says whose adverts it
// refuses, why and what to do, wherever it says that there are two: in the log, in status and to the hooks. It never says that none is heard.
func TestRefusedMaster(t *testing.T) {
	t.Parallel()
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			m.tell(t)
		})
	}
}

func (m *mistake) tell(t *testing.T) {
	scripts := commandtest.Dir(t)
	commandtest.Script(t, scripts, "alarm", `echo "$UNDERSTUDY_PEER $UNDERSTUDY_PEER_MAC $UNDERSTUDY_REASON" >>"$0.$UNDERSTUDY_NODE"`)
	c := pairtest.New(t, pairtest.Shape{
		Program: program, Hosts: []string{"lb1", "lb2"}, Scripts: scripts, VIPs: map[string]time.Duration{web4.String(): 0}, Config: refusing(m.host1),
	})
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	lb1.Start(t)
	c.Only(t, "lb1", settleBound)
	hosts := []*pairtest.Server{lb1}
	if m.host2(t, lb2) {
		lb2.Start(t)
		hosts = c.Hosts
	}
	both(t, c, settleBound)
	for n, h := range hosts {
		other := c.Hosts[1-n].MAC().String()
		headline := fmt.Sprintf("%s answers for 10.0.0.100 while this host is master: two masters; adverts from %s (%s) are refused: %s", other, m.from[n], other, m.why[n])
		h.Says(t, regexp.QuoteMeta(headline), 2*moveBound) // keepalived announces at once, and again after 5 s
		if out := h.Does(t, 4, "status"); !strings.Contains(out, "TWO MASTERS: "+headline) {
			t.Errorf("the status of %s does not say that there are two masters because %s:\n%s", h.Name(), m.why[n], out)
		}
		if k := status(t, h).Contention; k == nil || k.MAC != other || k.Refused.String() != m.from[n] || k.Why != m.why[n] {
			t.Errorf("%s has the contention %+v, want refused adverts from %s: %s", h.Name(), k, m.from[n], m.why[n])
		}
		want := fmt.Sprintf("%s %s %s\n", m.from[n], other, headline)
		labtest.Eventually(t, moveBound, func() (bool, string) {
			told, err := os.ReadFile(filepath.Join(scripts, "alarm."+h.Name()))
			return string(told) == want, fmt.Sprintf("the contention hook on %s was told %q (%v), want %q", h.Name(), told, err, want)
		})
		if n := h.Logged("no advert of it is heard"); n > 0 {
			t.Errorf("%s says %d times that it hears no advert", h.Name(), n)
		}
	}
}
