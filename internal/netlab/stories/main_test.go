package stories

import (
	"os"
	"testing"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// labsAtOnce is how many labs run at a time.
const labsAtOnce = 3

// noise is by how much the machine may delay what takes milliseconds.
const noise = pairtest.Noise

// program is the daemon.
var program string

func TestMain(m *testing.M) { os.Exit(pairtest.Main(m, raceEnabled, labsAtOnce, &program)) }

// newCluster makes hosts with the daemon and scripts, and starts everything but the daemons.
func newCluster(t *testing.T, s pairtest.Shape, scripts map[string]string) *pairtest.Cluster {
	t.Helper()
	s.Program = program
	if len(scripts) > 0 {
		s.Scripts = commandtest.Dir(t)
	}
	for name, body := range scripts {
		commandtest.Script(t, s.Scripts, name, body)
	}
	return pairtest.New(t, s)
}
