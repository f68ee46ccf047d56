package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// made are the files that the build makes; it copies the others.
var made = []string{"${ARCH}/understudy", "manual/", "examples", "changelog.gz", "third-party.txt.gz"}

// TestLayoutNamesWhatIsThere: every file that nfpm.yaml names is made or in the source, and every unit is in both packages.
func TestLayoutNamesWhatIsThere(t *testing.T) {
	layout := read(t, "nfpm.yaml")
	sources := regexp.MustCompile(`src: dist/stage/([^,\s]+)`).FindAllStringSubmatch(layout, -1)
	if len(sources) < 20 {
		t.Fatalf("nfpm.yaml names %d files only", len(sources))
	}
	for _, source := range sources {
		name := source[1]
		if slices.ContainsFunc(made, func(m string) bool { return strings.HasPrefix(name, m) }) {
			continue
		}
		if !slices.ContainsFunc([]string{"systemd", "etc", "deb", ".", ".."}, func(dir string) bool {
			_, err := os.Stat(filepath.Join(dir, name))
			return err == nil
		}) {
			t.Errorf("nfpm.yaml names %s, which is nowhere", name)
		}
	}
	units, err := filepath.Glob("systemd/*")
	if err != nil || len(units) < 4 {
		t.Fatalf("units %q: %v", units, err)
	}
	for _, unit := range units {
		for dir, packager := range map[string]string{"/lib": "deb", "/usr/lib": "rpm"} {
			line := "dst: " + dir + "/systemd/system/" + filepath.Base(unit) + ", packager: " + packager
			if !strings.Contains(layout, line) {
				t.Errorf("nfpm.yaml lacks %q", line)
			}
		}
	}
}

// scripts are what the package managers run.
func scripts(t *testing.T) []string {
	t.Helper()
	found := regexp.MustCompile(`: packaging/((?:deb|rpm)/\S+)`).FindAllStringSubmatch(read(t, "nfpm.yaml"), -1)
	if len(found) != 9 {
		t.Fatalf("nfpm.yaml names %d scripts, not 9: %q", len(found), found)
	}
	var paths []string
	for _, f := range found {
		paths = append(paths, f[1])
	}
	return paths
}

// TestScripts: the shell understands them, and none restarts a service: that would move the addresses with each upgrade.
func TestScripts(t *testing.T) {
	labtest.Require(t, "sh")
	restart := regexp.MustCompile(`\b(?:try-|force-)?(?:restart|reload-or-restart)\b`)
	for _, path := range scripts(t) {
		if out, err := exec.CommandContext(t.Context(), "sh", "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
		for line := range strings.Lines(read(t, path)) {
			if line = strings.TrimSpace(line); restart.MatchString(line) && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "echo ") {
				t.Errorf("%s restarts a service: %s", path, line)
			}
		}
	}
}

// TestOverridesAreExplained: what lintian is told to be silent about has its reason above it.
func TestOverridesAreExplained(t *testing.T) {
	explained, count := false, 0
	for line := range strings.Lines(read(t, "deb/lintian-overrides")) {
		if strings.HasPrefix(line, "#") {
			explained = true
			continue
		}
		count++
		if !explained {
			t.Errorf("no reason is given for %s", line)
		}
	}
	if count == 0 {
		t.Error("no override was looked at")
	}
}
