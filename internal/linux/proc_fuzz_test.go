package linux

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// FuzzProc reads what /proc may say of a process that may be anybody's, under a name that its user chose: it has no rights that the
// kernel does not say it has, and only who sets addresses is named as one who may have.
func FuzzProc(f *testing.F) {
	f.Add("Name:\tunderstudy\nUid:\t0\t0\t0\t0\nCapInh:\t0000000000003000\nCapEff:\t000001ffffffffff\n", "keepalived\n", "810 (keepalived) S 1 810")
	f.Add("CapEff:\t-1\n", "vrrpd", "810 (vrrpd) S 810 1")
	f.Add("Name:\tCapEff: 3000\nCapEff:\n", "ucarp\n", "810 (ucarp) S")
	f.Add("CapEff:\t10000000000000000\nCapEff:\t3000", "keepalived", "810 (keepalived) S ../810 1")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, status, comm, stat string) {
		proc := t.TempDir()
		for _, dir := range []string{"810/ns", "thread-self/ns"} {
			if err := os.MkdirAll(filepath.Join(proc, dir), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("net:[1]", filepath.Join(proc, dir, "net")); err != nil {
				t.Fatal(err)
			}
		}
		for name, text := range map[string]string{"status": status, "comm": comm, "stat": stat} {
			if err := os.WriteFile(filepath.Join(proc, "810", name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		const field = "CapEff:"
		caps, err := threadCaps(filepath.Join(proc, "810/status"), field)
		_, after, _ := strings.Cut("\n"+status, "\n"+field)
		line, _, _ := strings.Cut(after, "\n")
		if want, wrong := strconv.ParseUint(strings.TrimSpace(line), 16, 64); (err == nil) != (wrong == nil) || err == nil && caps != want {
			t.Errorf("%q gives the capabilities %x, error %v", status, caps, err)
		}
		name := strings.TrimSpace(comm)
		if others := othersRunning(proc); len(others) > 0 && (!slices.Contains(holderNames, name) || others[0] != name+" (pid 810)" || len(others) > 1) {
			t.Errorf("%q, %q: %q run", comm, stat, others)
		}
	})
}
