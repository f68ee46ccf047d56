package linux

import (
	"errors"
	"io/fs"
	"testing"
)

func TestNonlocalBind(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	for _, tt := range []struct {
		path string
		v6   bool
	}{{"ipv4/ip_nonlocal_bind", false}, {"ipv6/ip_nonlocal_bind", true}} {
		for _, value := range []string{"0", "1"} {
			h.sysctl(tt.path, value)
			if got, err := NonlocalBind(tt.v6); err != nil || got != (value == "1") {
				t.Errorf("%s is %s: got %v, %v", tt.path, value, got, err)
			}
		}
	}
}

func TestSysctlThatIsMissing(t *testing.T) {
	if _, err := sysctl("ipv6", "conf", "nosuch", "forwarding"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestAcceptsRedirects: the kernel's rule (IN_DEV_RX_REDIRECTS), by which forwarding turns an or into an and.
func TestAcceptsRedirects(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	for _, tt := range []struct {
		all, here, forwards string
		want                bool
	}{
		{"0", "0", "0", false}, {"1", "0", "0", true}, {"0", "1", "0", true}, {"1", "1", "0", true},
		{"0", "0", "1", false}, {"1", "0", "1", false}, {"0", "1", "1", false}, {"1", "1", "1", true},
	} {
		h.sysctl("ipv4/conf/lo/forwarding", tt.forwards) // first: it may set others
		h.sysctl("ipv4/conf/all/accept_redirects", tt.all)
		h.sysctl("ipv4/conf/lo/accept_redirects", tt.here)
		if got, err := AcceptsRedirects("lo"); err != nil || got != tt.want {
			t.Errorf("all %s, here %s, forwarding %s: got %t, %v", tt.all, tt.here, tt.forwards, got, err)
		}
	}
	if _, err := AcceptsRedirects("nosuch"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
