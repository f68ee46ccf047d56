package daemon

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/linux"
)

// TestShadowKernel tells that a shadow says once what would change, and nothing of renewals.
func TestShadowKernel(t *testing.T) {
	said := &logs{}
	k := newShadowKernel(hclog.New(&hclog.LoggerOptions{Output: said, DisableTime: true}))
	want := func(owner string, ips ...netip.Addr) linux.Want {
		w := linux.Want{Owner: owner, Interface: "eth0", Lifetime: 2 * time.Second}
		for _, ip := range ips {
			w.Addresses = append(w.Addresses, linux.Address{IP: ip})
		}
		return w
	}
	tests := []struct {
		name  string
		wants []linux.Want
		says  []string
	}{
		{"taken", []linux.Want{want("web", vip1), want("mail")}, []string{"would set an address: instance=web address=192.0.2.10 interface=eth0"}},
		{"renewed", []linux.Want{want("web", vip1)}, nil},
		{"one more, one less", []linux.Want{want("web", vip2)}, []string{
			"would set an address: instance=web address=192.0.2.11 interface=eth0",
			"would remove an address: instance=web address=192.0.2.10 interface=eth0",
		}},
		{"released", []linux.Want{{Owner: "web"}}, []string{"would remove an address: instance=web address=192.0.2.11 interface=eth0"}},
		{"released again", []linux.Want{want("web")}, nil},
	}
	for _, tt := range tests {
		before := len(said.String())
		if failed := k.Set(tt.wants...); len(failed) > 0 {
			t.Errorf("%s: failed %v", tt.name, failed)
		}
		var got []string
		for line := range strings.Lines(said.String()[before:]) {
			got = append(got, strings.TrimSpace(strings.TrimPrefix(line, "[INFO]")))
		}
		if diff := cmp.Diff(tt.says, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if missing, err := k.Missing("eth0", []netip.Addr{vip1}); len(missing) > 0 || err != nil {
		t.Errorf("missing %v, %v: not a shadow's business", missing, err)
	}
}
