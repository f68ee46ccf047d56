package mechanisms

import (
	"os"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// labsAtOnce is how many labs run at a time.
const labsAtOnce = 4

// program is the daemon.
var program string

func TestMain(m *testing.M) { os.Exit(pairtest.Main(m, raceEnabled, labsAtOnce, &program)) }
