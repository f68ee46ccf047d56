package examples

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// folder is where the examples are, seen from here.
const folder = "../../../examples"

// example is the text of a file in examples/.
func example(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// bring copies examples/ to the machine, as a package does.
func (m *machine) bring(t testing.TB) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(m.root, "root", "examples"), os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
}

// follow runs commands that an example tells to run in its own folder.
func (m *machine) follow(t testing.TB, name, commands string) string {
	t.Helper()
	return m.sh(t, "cd examples/"+filepath.Dir(name)+"\n"+commands)
}

var (
	// shells are the blocks of commands in a README.
	shells = regexp.MustCompile("(?s)```sh\n(.*?)```")
	// head is the commands in the comment that a configuration begins with.
	head = regexp.MustCompile(`(?m)^#   (\S.*)\n`)
	// prompts are commands of which a README says on which host.
	prompts = regexp.MustCompile(`(?m)^    (both|lb\d)\$ (.*)$`)
)

// commands is the block of commands in a README that has a text in it: what people copy is what runs here.
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

// header is the commands in the comment that a configuration begins with.
func header(t testing.TB, name string) string {
	t.Helper()
	var lines []string
	for _, m := range head.FindAllStringSubmatch(example(t, name), -1) {
		lines = append(lines, m[1])
	}
	if len(lines) == 0 {
		t.Fatalf("%s does not say how to install it", name)
	}
	return strings.Join(lines, "\n")
}
