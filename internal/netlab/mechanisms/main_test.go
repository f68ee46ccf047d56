package mechanisms

import (
	"fmt"
	"os"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// labsAtOnce is how many labs run at a time.
const labsAtOnce = 6

// program is the daemon, shipped the same without the race detector, which cannot change the capabilities of all threads.
var program, shipped string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	path, remove, err := pairtest.Build(false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	shipped = path
	return pairtest.Main(m, raceEnabled, labsAtOnce, &program)
}
