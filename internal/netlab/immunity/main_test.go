package immunity

import (
	"fmt"
	"os"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// program is the daemon.
var program string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == floodCommand {
		os.Exit(floodMain(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == standstillCommand {
		os.Exit(standstillMain())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	// Without the race detector, whatever these tests run with: they are about what a flood costs.
	path, remove, err := pairtest.Build(false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	program = path
	// The flooder is this binary: with the race detector it would end a second late.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
