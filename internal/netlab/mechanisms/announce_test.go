package mechanisms

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// announcement is what a host on the switch saw of one.
type announcement struct {
	ip netip.Addr
	at time.Time
}

// announced lists the announcements of one kind, whose lines of a capture have the address where the pattern's group is.
func announced(t *testing.T, p *netlab.Proc, pattern string, from time.Time) []announcement {
	t.Helper()
	var list []announcement
	for _, line := range regexp.MustCompile(`(?m)^.*`+pattern).FindAllStringSubmatch(p.Output(), -1) {
		if at, ok := instant(line[0]); ok && at.After(from) {
			list = append(list, announcement{netip.MustParseAddr(line[1]), at})
		}
	}
	return list
}

// TestAnnouncing tells when and how a master says that it has its addresses, as hosts on the switch hear it.
func TestAnnouncing(t *testing.T) {
	t.Parallel()
	const pace = 150 * time.Millisecond
	more := "advertise_interval = \"200ms\"\n  announce {\n    refresh  = \"3s\"\n    interval = \"150ms\"\n  }"
	c := cluster(t, []string{"lb1"}, instanceOf(`"10.0.0.100", "10.0.0.101", "10.0.0.102", "fd00::100"`, more)+page, web4, web6)
	lb1 := c.Get("lb1")
	wire := capture(t, c.User, "arp or icmp6")
	mac := lb1.MAC().String()
	// An announcement is padded, and goes to all; the kernel's own answer to a question is neither.
	const request, neighbour = `Request who-has (10\.0\.0\.10[0-2]) .*tell 10\.0\.0\.10`, ` > ff02::1: ICMP6, neighbor advertisement, tgt is (fd00::100)`
	reply := func(mac string) string { return `Reply (10\.0\.0\.10[0-2]) is-at ` + mac + `, length 46` }
	from := time.Now()
	begin(t, c)

	t.Run("each first before any second, and paced", func(t *testing.T) {
		// Four addresses, twice each before the announcements of +1.1 s.
		labtest.Eventually(t, moveBound, func() (bool, string) {
			n := len(announced(t, wire, reply(mac), from))
			return n >= 6, fmt.Sprintf("%d replies so far", n)
		})
		list := append(announced(t, wire, reply(mac), from), announced(t, wire, neighbour, from)...)
		slices.SortFunc(list, func(a, b announcement) int { return a.at.Compare(b.at) })
		counts := map[netip.Addr]int{}
		for n, a := range list {
			if counts[a.ip]++; counts[a.ip] == 2 && len(counts) < 4 {
				t.Errorf("%v came for the second time before every other was announced: %v", a.ip, list)
			}
			if n > 0 && a.at.Sub(list[n-1].at) < pace-50*time.Millisecond && c.Slack(list[n-1].at, a.at) == 0 {
				t.Errorf("%v comes %v after %v, want %v", a.ip, a.at.Sub(list[n-1].at), list[n-1].ip, pace)
			}
		}
		if n := len(announced(t, wire, request, from)); n < 6 {
			t.Errorf("%d announcements in the form of a request", n)
		}
	})
	t.Run("again and again", func(t *testing.T) {
		// Those of the election end after 5 s; the refresh comes every 3 s from then on.
		since := from.Add(7 * time.Second)
		labtest.Eventually(t, 15*time.Second, func() (bool, string) {
			return len(announced(t, wire, request, since)) >= 3, "no refresh"
		})
	})
	t.Run("the MAC address changes", func(t *testing.T) {
		const next = "02:00:00:00:0f:01"
		at := pairtest.Step(t, func() error {
			_, err := lb1.Exec(t.Context(), "ip", "link", "set", "dev", "eth0", "address", next)
			return err
		})
		for _, vip := range c.VIPs {
			labtest.Eventually(t, moveBound, func() (bool, string) {
				got, err := c.User.Neighbour(vip)
				return err == nil && got.String() == next, fmt.Sprintf("the user has %v at %v; %v", vip, got, err)
			})
			c.Outage(t, vip, at, 4*pace+noise, "lb1") // each of the four at its turn
		}
		if n := len(announced(t, wire, reply(next), at)); n == 0 {
			t.Error("no reply with the new MAC address")
		}
	})
	t.Run("the link flaps", func(t *testing.T) {
		pairtest.Step(t, lb1.CarrierDown)
		c.Only(t, "", moveBound)
		at := pairtest.Step(t, lb1.CarrierUp)
		c.Only(t, "lb1", moveBound)
		labtest.Eventually(t, moveBound, func() (bool, string) {
			return len(announced(t, wire, request, at)) >= 3, "not announced again"
		})
	})
}

// TestOnlyTheMasterAnswers asks by ARP and by neighbour discovery who has an address: exactly one host answers, the master.
func TestOnlyTheMasterAnswers(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "arping", "ndisc6")
	c := pair(t, instanceOf(`"10.0.0.100", "fd00::100"`, `advertise_interval = "200ms"`)+page, web4, web6)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	ask := func(t *testing.T, master *pairtest.Server) {
		t.Helper()
		const asked = 3
		for _, question := range [][]string{
			{"arping", "-c", fmt.Sprint(asked), "-W", "0.1", "-i", netlab.Interface, web4.String()},
			// All answers to one question, not the first alone.
			{"ndisc6", "-m", "-n", "-r", "1", "-w", "500", web6.String(), netlab.Interface},
		} {
			out, err := c.User.Exec(t.Context(), question...)
			if err != nil {
				t.Fatal(err)
			}
			macs := regexp.MustCompile(`(?i)\b02(:[0-9a-f]{2}){5}\b`).FindAllString(out, -1)
			if len(macs) == 0 {
				t.Errorf("nobody answers %q:\n%s", question, out)
			}
			for _, mac := range macs {
				if !strings.EqualFold(mac, master.MAC().String()) {
					t.Errorf("%s answers %q, want %s of %s alone:\n%s", mac, question, master.MAC(), master.Name(), out)
				}
			}
			if question[0] == "arping" && len(macs) != asked {
				t.Errorf("%d answers to %d questions:\n%s", len(macs), asked, out)
			}
		}
	}
	ask(t, lb1)
	lb1.Does(t, 0, "drain")
	c.Only(t, "lb2", moveBound)
	ask(t, lb2)
	lb1.Does(t, 0, "undrain")
	c.Settled(t, "lb1")
	ask(t, lb1)
}
