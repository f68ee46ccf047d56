package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestTheSameWeightOnEveryHost has a weight fall on every host, and each host notice when its check's time comes, in any order: nothing
// moves.
func TestTheSameWeightOnEveryHost(t *testing.T) {
	for seed := range uint64(500) {
		d := newDice(seed, 0)
		hosts := 2 + d.IntN(3)
		interval := pick(d, 10*time.Millisecond, 100*time.Millisecond, time.Second, 4*time.Second)
		cfg := Config{Seed: seed, Kernel: time.Millisecond, Jitter: time.Millisecond, Network: Network{MaxDelay: time.Millisecond}, Trace: true}
		for k := range hosts {
			cfg.Hosts = append(cfg.Hosts, node.Config{Name: fmt.Sprintf("h%d", k), Instances: []node.Instance{{
				Name: "web", Interface: Interface, VRID: 51, Priority: uint8(200 - 20*k), Version: vrrp.V3, Addresses: []node.Address{{IP: vip}},
				Interval: interval, DeadAdverts: 3, Preempt: true, Checks: map[string]node.Effect{weighs: {OnFailure: node.Weigh, Weight: -100}},
			}}})
		}
		c := New(cfg)
		for _, h := range c.Hosts() {
			h.Start()
		}
		c.Run(5 * interval)
		from := c.Now()
		ill := &Verdict{Reason: "the database is gone"}
		for _, h := range c.Hosts() {
			h.Spoil(weighs, ill)
			c.after(c.between(0, 3*interval), func() { h.SetCheck(weighs, ill) })
		}
		c.Run(20 * interval)
		for _, h := range c.Hosts() {
			if p := h.Status().Instances[0].Priority; int(p) != int(h.Config().Instances[0].Priority)-100 {
				t.Errorf("seed %d: %s has priority %d after all", seed, h.Name, p)
			}
		}
		if periods := c.Owners.Periods(vip, from); len(periods) != 1 || len(periods[0].Hosts) != 1 || periods[0].Hosts[0] != "h0" || len(c.Faults()) > 0 {
			t.Fatalf("seed %d, %d hosts, interval %s: %v, faults %v\n%s", seed, hosts, interval, periods, c.Faults(), tail(c.Trace()))
		}
	}
}

// tail is the end of a trace.
func tail(trace []string) (text string) {
	for _, line := range trace[max(0, len(trace)-40):] {
		text += line + "\n"
	}
	return text
}
