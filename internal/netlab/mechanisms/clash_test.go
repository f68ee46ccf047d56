package mechanisms

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// TestOneAddressTwice tells of two hosts that have the same address in different virtual routers, by mistake: both serve it, as neither
// hears the other. Each says so once, with the remedy, and they do not contradict each other's announcements for ever.
func TestOneAddressTwice(t *testing.T) {
	t.Parallel()
	const refresh = 2 * time.Second
	config := instance(`advertise_interval = "200ms"
  checks = []
  announce {
    refresh = "2s"
  }`)
	c := cluster(t, []string{"lb1", "lb2"}, strings.Replace(config, "= 71", "= { lb1 = 71, lb2 = 72 }[hostname]", 1))
	wire := capture(t, c.User, "ether broadcast and arp[14:4] = 0x0a000064")
	for _, h := range c.Hosts {
		h.Start(t)
	}
	both(t, c, settleBound)
	texts := []string{
		`10\.0\.0\.12 \(` + c.Get("lb2").MAC().String() + `\) advertises 10\.0\.0\.100 for virtual router 72 on this link, and here it is in virtual router 71`,
		`10\.0\.0\.11 \(` + c.Get("lb1").MAC().String() + `\) advertises 10\.0\.0\.100 for virtual router 71 on this link, and here it is in virtual router 72`,
	}
	for n, h := range c.Hosts {
		h.Says(t, texts[n], 15*time.Second)
	}
	pairtest.Until(t, time.Now().Add(6*time.Second)) // all rounds of announcements are made, but for the refreshes
	from := time.Now()
	pairtest.Until(t, from.Add(3*refresh))
	announced := 0
	for _, at := range seen(t, wire, "10.0.0.100") {
		if at.After(from) {
			announced++
		}
	}
	if most := 2 * 2 * (3 + 1); announced == 0 || announced > most { // two hosts, in two forms, at each refresh
		t.Errorf("within three refreshes there were %d announcements, want %d at most", announced, most)
	}
	for n, h := range c.Hosts {
		if told := h.Logged(texts[n]); told != 1 || h.Logged("two masters") > 0 {
			t.Errorf("%s says %d times that the address is in two virtual routers, and %d times that there are two masters", h.Name(), told, h.Logged("two masters"))
		}
		if out := h.Does(t, 4, "status"); !strings.Contains(out, "ONE ADDRESS TWICE: ") {
			t.Errorf("the status of %s says nothing of it:\n%s", h.Name(), out)
		}
	}
}
