package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// TestLeaseIsOverBeforeAnotherHostComes kills a master that has leases, or stops it, at instants all over its interval, on a kernel
// that is as late as it can be. Whatever the interval and the other host's priority, no address is ever on both, but where README.md
// says so.
func TestLeaseIsOverBeforeAnotherHostComes(t *testing.T) {
	const instants, late = 10, 980 * time.Millisecond
	tests := []struct {
		version  vrrp.Version
		interval time.Duration
		dead     int
		most     time.Duration // both may have the address
	}{
		{vrrp.V3, time.Second, 3, 0}, {vrrp.V3, 1250 * time.Millisecond, 3, 0}, {vrrp.V3, 1500 * time.Millisecond, 3, 0}, {vrrp.V3, 2 * time.Second, 3, 0},
		{vrrp.V3, 5 * time.Second, 3, 0}, {vrrp.V3, 10 * time.Second, 3, 0}, {vrrp.V3, 40 * time.Second, 3, 0},
		{vrrp.V3, 2 * time.Second, 2, 0}, {vrrp.V3, 10 * time.Second, 2, 0}, {vrrp.V3, time.Second, 5, 0},
		{vrrp.V2, time.Second, 3, 0}, {vrrp.V2, 2 * time.Second, 3, 0}, {vrrp.V2, 10 * time.Second, 3, 0}, {vrrp.V2, 2 * time.Second, 2, 0},
		{vrrp.V3, 100 * time.Millisecond, 3, 3 * time.Second}, {vrrp.V3, time.Second, 2, 3 * time.Second},
		{vrrp.V3, 5 * time.Second, 1, 3 * time.Second},
	}
	for _, tt := range tests {
		for _, priority := range []uint8{2, 100, 200, 254} {
			t.Run(fmt.Sprintf("v%d, %d times %s, priority %d", tt.version, tt.dead, tt.interval, priority), func(t *testing.T) {
				for k := range instants {
					c := pair(func(cfg *Config) {
						cfg.Trace = false
						cfg.LeaseEarly, cfg.LeaseLate = -late, late
						for h := range cfg.Hosts {
							i := &cfg.Hosts[h].Instances[0]
							i.Version, i.Interval, i.DeadAdverts, i.Preempt = tt.version, tt.interval, tt.dead, false
						}
						cfg.Hosts[1].Instances[0].Priority = priority
					})
					a, b := c.Host("a"), c.Host("b")
					a.Start()
					c.Run(time.Duration(tt.dead+2) * tt.interval)
					b.Start()
					c.Run(tt.interval + time.Duration(k)*tt.interval/instants)
					if got := c.Owners.Now(vip); !slices.Equal(got, []string{"a"}) {
						t.Fatalf("%v have the address before the end of a", got)
					}
					since := c.Now()
					if k%2 == 0 {
						a.Kill()
					} else {
						a.Pause()
					}
					c.Run(time.Duration(tt.dead+2)*tt.interval + tt.most)
					if _, overlap := c.Owners.Sum(vip, since, c.Now()); overlap > tt.most {
						t.Errorf("ended %s: %s, want an overlap of at most %s", since.Sub(epoch), c.Owners.Describe(vip, since, c.Now()), tt.most)
					}
					if got := c.Owners.Now(vip); !slices.Equal(got, []string{"b"}) {
						t.Errorf("%v have the address in the end, want b", got)
					}
				}
			})
		}
	}
}
