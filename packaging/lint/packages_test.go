// Package lint tests the packages that make packages has made; there is no code in it but tests.
package lint

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// where the packages are.
const where = "../../dist/packages"

// built is one file of each kind for each architecture, as Go calls it.
type built struct {
	version string
	deb     map[string]string
	rpm     map[string]string
	sbom    map[string]string
}

// packages finds what was built: one version of it.
func packages(t *testing.T) built {
	t.Helper()
	b := built{deb: map[string]string{}, rpm: map[string]string{}, sbom: map[string]string{}}
	for arch, rpmArch := range map[string]string{"amd64": "x86_64", "arm64": "aarch64"} {
		b.deb[arch] = one(t, "understudy_*-1_"+arch+".deb")
		b.rpm[arch] = one(t, "understudy-*-1."+rpmArch+".rpm")
		b.sbom[arch] = one(t, "understudy_*_"+arch+".sbom.json")
	}
	b.version = strings.TrimPrefix(strings.TrimSuffix(filepath.Base(b.deb["amd64"]), "-1_amd64.deb"), "understudy_")
	return b
}

func one(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(where, pattern))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files are %s (%v): run make packages", len(files), pattern, err)
	}
	path, err := filepath.Abs(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// output runs a program, which must succeed, and returns what it prints.
func output(t *testing.T, argv ...string) string {
	t.Helper()
	labtest.Require(t, argv[0])
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

// unpacked unpacks the .deb of an architecture.
func unpacked(t *testing.T, b built, arch string) string {
	t.Helper()
	dir := t.TempDir()
	output(t, "dpkg-deb", "--extract", b.deb[arch], dir)
	return dir
}

// lines are the lines of a text that are not empty.
func lines(text string) (all []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			all = append(all, line)
		}
	}
	return all
}
