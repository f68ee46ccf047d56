package examples

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shells finds the blocks of commands in a README.
var shells = regexp.MustCompile("(?s)```sh\n(.*?)```")

// commands is the block of commands in a file of examples/ that has a text in it: what people copy is what runs here.
func commands(t testing.TB, name, has string) string {
	t.Helper()
	for _, block := range shells.FindAllStringSubmatch(example(t, name), -1) {
		if strings.Contains(block[1], has) {
			return block[1]
		}
	}
	t.Fatalf("%s has no block of commands with %q", name, has)
	return ""
}

// bring copies a folder of examples/ to the machine, below /root.
func (m *machine) bring(t testing.TB, folder string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(m.root, "root", folder), os.DirFS(filepath.Join("../../../examples", folder))); err != nil {
		t.Fatal(err)
	}
}
