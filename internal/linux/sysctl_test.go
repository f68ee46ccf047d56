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
