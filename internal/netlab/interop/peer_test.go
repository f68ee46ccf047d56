package interop

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// peer is a VRRP speaker of another make on a host.
type peer interface {
	start(t *testing.T)
	stop(t *testing.T)  // as a service manager does
	leave(t *testing.T) // stop for good, and take away what would stand in our way
	kill(t *testing.T)  // SIGKILL
	setPriority(t *testing.T, priority int)
	// fault makes it leave the election, or take part again; a speaker that has no checks does nothing, and says false.
	fault(t *testing.T, ill bool) bool
	// shows says whether the kernel tells who has the address: where it does not, only the clients do.
	shows() bool
}

// maker makes a speaker on a host with a priority; it does not start it.
type maker func(t *testing.T, h *pairtest.Server, o options, priority int) peer

// keepalived is keepalived 2.2.7.
type keepalived struct {
	host     *pairtest.Server
	opts     options
	priority int
	proc     *pairtest.Keepalived
}

func newKeepalived(_ *testing.T, h *pairtest.Server, o options, priority int) peer {
	return &keepalived{host: h, opts: o, priority: priority}
}

func (k *keepalived) config() string { return k.opts.keepalived(k.host, k.priority) }

func (k *keepalived) start(t *testing.T) {
	t.Helper()
	k.fault(t, false)
	k.proc = pairtest.StartKeepalived(t, k.host.Host, k.config())
}

func (k *keepalived) stop(t *testing.T) { k.proc.Stop(t) }

func (k *keepalived) leave(t *testing.T) { k.stop(t) }

func (k *keepalived) kill(t *testing.T) {
	t.Helper()
	if err := k.proc.Kill(); err != nil {
		t.Fatal(err)
	}
}

func (k *keepalived) setPriority(t *testing.T, priority int) {
	t.Helper()
	k.priority = priority
	k.proc.Reload(t, k.config())
}

func (k *keepalived) fault(t *testing.T, ill bool) bool {
	t.Helper()
	text := "0\n"
	if ill {
		text = "1\n"
	}
	if err := os.WriteFile(filepath.Join(k.host.Dir(), "fault"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return true
}

func (k *keepalived) shows() bool { return true }

// frr is FRR's vrrpd 8.4.
type frr struct{ proc *pairtest.FRR }

func newFRR(t *testing.T, h *pairtest.Server, o options, priority int) peer {
	return &frr{pairtest.NewFRR(t, h.Host, o.frr(priority))}
}

func (f *frr) start(t *testing.T) { f.proc.Start(t) }

func (f *frr) stop(t *testing.T) { f.proc.Stop(t) }

func (f *frr) leave(t *testing.T) { f.proc.Leave(t) }

func (f *frr) kill(t *testing.T) {
	t.Helper()
	if err := f.proc.Kill(); err != nil {
		t.Fatal(err)
	}
}

func (f *frr) setPriority(t *testing.T, priority int) { f.proc.SetPriority(t, priority) }

func (f *frr) fault(*testing.T, bool) bool { return false }

func (f *frr) shows() bool { return false }
