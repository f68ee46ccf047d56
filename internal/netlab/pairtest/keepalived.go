package pairtest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// keepalivedVersion is what every word about keepalived was found out about: Debian 12's.
const keepalivedVersion = "2.2.7"

// Keepalived is a real keepalived on a host.
type Keepalived struct {
	*netlab.Proc
	host *netlab.Host
}

// StartKeepalived starts keepalived on a host.
func StartKeepalived(t testing.TB, h *netlab.Host, config string) *Keepalived {
	t.Helper()
	labtest.Require(t, "keepalived")
	labtest.Version(t, "keepalived", keepalivedVersion)
	k := &Keepalived{host: h}
	k.configure(t, config)
	path := filepath.Join(h.Dir(), "keepalived")
	var err error
	if k.Proc, err = h.Start("keepalived", "-n", "-l", "-D", "-P", "-f", path+".conf", "-p", path+".pid", "-r", path+"-vrrp.pid"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("keepalived on %s:\n%s", h.Name(), k.Output())
		}
	})
	return k
}

func (k *Keepalived) configure(t testing.TB, config string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(k.host.Dir(), "keepalived.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Reload gives it another configuration.
func (k *Keepalived) Reload(t testing.TB, config string) {
	t.Helper()
	k.configure(t, config)
	if err := k.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// Stop stops it as a service manager does, and waits for its end.
func (k *Keepalived) Stop(t testing.TB) {
	t.Helper()
	if err := errors.Join(k.Signal(syscall.SIGTERM), k.Wait(t.Context())); err != nil {
		t.Error(err)
	}
}
