package examples

import (
	"fmt"
	"os"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// labsAtOnce is how many labs run at a time.
const labsAtOnce = 4

// noise is by how much the machine may delay what takes milliseconds.
const noise = pairtest.Noise

// program is the daemon.
var program string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == containerCommand {
		fmt.Fprintln(os.Stderr, enterContainer(os.Args[2:]))
		os.Exit(1)
	}
	os.Exit(pairtest.Main(m, raceEnabled, labsAtOnce, &program))
}
