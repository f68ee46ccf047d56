package daemon

import "testing"

// TestRedirectKey: sysctl.d takes a name with a dot only where slashes part the rest.
func TestRedirectKey(t *testing.T) {
	for name, want := range map[string]string{
		"eth0":    "net.ipv4.conf.eth0.accept_redirects",
		"eth0.10": "net/ipv4/conf/eth0.10/accept_redirects",
	} {
		if got := redirectKey(name); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
