package daemon

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// The kernel's tag does not say whose an address is: another daemon with another runtime directory may have it.
func TestAddressesOfAnotherDaemon(t *testing.T) {
	d := newDaemon(&config.Config{Instances: []node.Instance{on("web", "eth0", 71, "192.0.2.10")}}, Options{Log: hclog.NewNullLogger()})
	for _, tt := range []struct {
		name string
		held linux.Held
		want bool
	}{
		{"listed", linux.Held{Owner: "gone", IP: netip.MustParseAddr("192.0.2.99")}, false},
		{"tagged, and an instance's", linux.Held{IP: netip.MustParseAddr("192.0.2.10")}, false},
		{"tagged only", linux.Held{IP: netip.MustParseAddr("192.0.2.99")}, true},
	} {
		if got := d.strange(tt.held); got != tt.want {
			t.Errorf("%s: strange %v, want %v", tt.name, got, tt.want)
		}
	}
	d.opts.All = true
	if d.strange(linux.Held{IP: netip.MustParseAddr("192.0.2.99")}) {
		t.Error("strange although all are wanted")
	}
}

func TestHasRun(t *testing.T) {
	dir := t.TempDir()
	if HasRun(filepath.Join(dir, "typo")) || HasRun(dir) {
		t.Error("a daemon has run where there is no trace of one")
	}
	for _, name := range []string{"instances.json", "held.json", "macvlans.json"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if !HasRun(dir) {
			t.Errorf("%s shows no daemon", name)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
