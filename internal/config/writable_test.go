package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEverybodyMayWrite: who can write the configuration says what the daemon runs, also where no helper looks at it.
func TestEverybodyMayWrite(t *testing.T) {
	dir := authIn(t, minimal, nil)
	for mode, want := range map[os.FileMode]bool{0o644: false, 0o664: false, 0o666: true} {
		path := filepath.Join(dir, mainFile)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, started := loadHere(dir)
		validated := Validate([]string{dir}, nil, Options{Node: "lb1", Here: true}).Text()
		for who, said := range map[string]string{"run": started, "validate --here": validated} {
			if got := strings.Contains(said, "everybody may write to "+path+" (mode 0666)"); got != want {
				t.Errorf("%s of mode %04o: it says so: %t, want %t:\n%s", who, mode, got, want, said)
			}
		}
	}
}
