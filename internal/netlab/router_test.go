package netlab_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

func TestAdvertiseRouter(t *testing.T) {
	l := labtest.New(t)
	router := labtest.Host(t, l, "router", "fd00::1/64")
	host := labtest.Host(t, l, "lb1")
	if err := router.AdvertiseRouter(netip.MustParsePrefix("fd00:1::/64"), 30*time.Minute); err != nil {
		t.Fatal(err)
	}
	learned := []string{
		"inet6 fd00:1::ff:fe00:2/64 scope global dynamic",
		"default via fe80::ff:fe00:1 dev eth0 proto ra metric 1024 expires limited",
		"fd00:1::/64 dev eth0 proto kernel metric 256 expires limited",
	}
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		text, err := host.Snapshot(t.Context())
		if err != nil {
			return false, err.Error()
		}
		for _, want := range learned {
			if !strings.Contains(text, want) {
				return false, "the host has not learned " + want + ":\n" + text
			}
		}
		return true, ""
	})
}
