package linux

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestLikelyHolders: what the reason of a fault says of who set an address, and never how to cut off what serves.
func TestLikelyHolders(t *testing.T) {
	for _, tt := range []struct {
		name, running string
		x             address
		want          string
	}{
		{"one runs", "keepalived (pid 810)", address{valid: forever}, "probably keepalived (pid 810) set it: stop that, or take the address out of its configuration"},
		{"keepalived was killed", "", address{valid: forever, protocol: unix.RTPROT_KEEPALIVED},
			"keepalived set it: if it runs, stop it, or take the address out of its configuration; if it was killed, let it start and stop once"},
		{"for a time", "", address{valid: 100}, "something else on this host set it, for 100 s more: take it out there"},
		{"nobody is known", "", address{valid: forever}, "something else on this host set it, its network configuration or another daemon: take it out there"},
	} {
		h := holders{at: time.Now(), text: tt.running}
		if got := h.likely(tt.x); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestOthersRunning: the programs that move addresses are named as far as they can be in our network, and of each the process to stop.
func TestOthersRunning(t *testing.T) {
	proc := t.TempDir()
	process := func(pid, comm, parent, network string) {
		t.Helper()
		dir := filepath.Join(proc, pid)
		if err := os.MkdirAll(filepath.Join(dir, "ns"), 0o755); err != nil {
			t.Fatal(err)
		}
		files := map[string]string{"comm": comm + "\n", "stat": fmt.Sprintf("%s (%s) S %s 1 1", pid, comm, parent)}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if network == "" {
			return
		}
		if err := os.Symlink(network, filepath.Join(dir, "ns", "net")); err != nil {
			t.Fatal(err)
		}
	}
	process("thread-self", "understudy", "1", "net:[1]")
	process("1", "systemd", "0", "net:[1]")
	process("810", "keepalived", "1", "net:[1]")
	process("812", "keepalived", "810", "net:[1]")
	process("900", "keepalived", "1", "net:[2]")
	process("950", "ucarp", "1", "") // it may not be looked into
	process("960", "nginx", "1", "net:[1]")
	process("970", "keepalived", "1", "net:[1]")
	if err := os.WriteFile(filepath.Join(proc, "970", "stat"), []byte("970 (keepalived) Z 1 1 1"), 0o644); err != nil { // it has ended
		t.Fatal(err)
	}
	want := []string{"keepalived (pid 810)", "ucarp (pid 950)"}
	if diff := cmp.Diff(want, othersRunning(proc)); diff != "" {
		t.Errorf("named (-want +got):\n%s", diff)
	}
}
