package lint

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReproducible builds the packages again: in another place, with another umask, language and time zone. What must be the
// same are the checksums. What somebody else has in that place stays.
func TestReproducible(t *testing.T) {
	b := packages(t)
	dir := t.TempDir()
	output(t, "sh", "-c", "tar --create --directory ../.. --exclude=./dist --exclude=./bin . | tar --extract --no-same-permissions --directory '"+dir+"'")
	others := []string{"old_1.0_amd64.deb", "notes.txt"}
	built := filepath.Join(dir, "dist/packages")
	if err := os.MkdirAll(built, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range others {
		if err := os.WriteFile(filepath.Join(built, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "umask 077 && exec packaging/build")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "VERSION="+b.version, "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, name := range others {
		if _, err := os.Stat(filepath.Join(built, name)); err != nil {
			t.Errorf("what was there before: %v", err)
		}
	}
	var sums [2]string
	for i, path := range []string{where, built} {
		text, err := os.ReadFile(filepath.Join(path, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = string(text)
	}
	if sums[0] != sums[1] {
		t.Errorf("the second build gave\n%s, the first\n%s", strings.TrimSpace(sums[1]), sums[0])
	}
}
