package stories

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// labsAtOnce is how many labs run at a time, on any machine: their hosts mostly wait, and they measure time.
const labsAtOnce = "2"

// program is the daemon: what UNDERSTUDY names, or one that is built for the tests.
var program = os.Getenv("UNDERSTUDY")

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	if err := flag.Set("test.parallel", labsAtOnce); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if program == "" && os.Geteuid() == 0 {
		dir, err := os.MkdirTemp("", "understudy-stories-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "understudy")
		if err := build(program); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

func build(path string) error {
	args := []string{"build", "-buildvcs=false", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "github.com/understudy-ha/understudy/cmd/understudy")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the daemon: %w\n%s", err, out)
	}
	return nil
}
