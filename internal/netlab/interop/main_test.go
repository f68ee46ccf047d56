package interop

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// labsAtOnce is how many labs run at a time, on any machine: their hosts mostly wait, and they measure time.
const labsAtOnce = "6"

// program is the daemon.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	if err := flag.Set("test.parallel", labsAtOnce); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	path, remove, err := pairtest.Build(false) // what a move costs is measured here
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	program = path
	return m.Run()
}
