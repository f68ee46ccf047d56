package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/notify"
)

// sealedFormat is the format of what a daemon hands to the program that it executes: of the state, and of what it leaves beside that,
// in its runtime directory and in the kernel. It goes on with every change of a field, of what one means, and of what the next program
// has to undo (a master with a device that an older one does not know to be deaf would serve nobody): TestSealedFormat tells when, and
// TestWhatABackupLeavesInTheKernel of linux.
const sealedFormat = 12

// maxSealed bounds the state, in bytes: that of thousands of instances is some megabytes.
const maxSealed = 256 << 20

// sealedState is all that a daemon carries over.
type sealedState struct {
	Version string // of who sealed it
	PID     int
	// Clock is CLOCK_MONOTONIC when it was sealed, and Suspended how long the machine had slept by then.
	Clock, Suspended time.Duration
	Started          time.Time
	Reexec           *node.ReexecReport
	Node             node.Sealed
	Checks           []checks.Result
	Hooks            []node.HookReport
	Queues           []notify.Sealed
}

// header is the first line of a state that is written down.
const header = "understudy state, format %d\n"

// encode writes the state, its instants by the wall clock as it was when the state was sealed.
func (s *sealedState) encode() ([]byte, error) {
	node.ToWall(s, s.Node.At)
	text := bytes.NewBufferString(fmt.Sprintf(header, sealedFormat))
	err := json.NewEncoder(text).Encode(s)
	return text.Bytes(), err
}

// decodeState reads a state, and carries its instants over to this process's clock.
func decodeState(text []byte, clock func() (time.Duration, error)) (*sealedState, error) {
	format, body := 0, bytes.IndexByte(text, '\n')+1
	if n, err := fmt.Sscanf(string(text[:body]), header, &format); n != 1 || err != nil {
		return nil, errors.New("read the sealed state: it is none")
	}
	if format != sealedFormat {
		return nil, fmt.Errorf("the sealed state has format %d, this program's is %d: restart the daemon, which hands over first", format, sealedFormat)
	}
	strict := json.NewDecoder(bytes.NewReader(text[body:]))
	strict.DisallowUnknownFields()
	s := &sealedState{}
	if err := strict.Decode(s); err != nil {
		return nil, fmt.Errorf("read the sealed state: %w", err)
	}
	mono, err := clock()
	if err != nil {
		return nil, err
	}
	passed := mono - s.Clock
	if passed < 0 || s.Node.At.IsZero() {
		return nil, errors.New("read the sealed state: it is of another run of this machine")
	}
	node.FromWall(s, s.Node.At, time.Now().Add(-passed))
	for k := range s.Node.Config.Instances {
		i := &s.Node.Config.Instances[k]
		if err := usable(i); err != nil {
			return nil, fmt.Errorf("read the sealed state: instance %q: %w", i.Name, err)
		}
	}
	return s, nil
}

// capture takes what the loop and others know. The checks and hooks must rest if it is to be gone on with.
func (l *loop) capture() (*sealedState, error) {
	clock, err := linux.Monotonic()
	if err != nil {
		return nil, err
	}
	s := &sealedState{
		Version: l.opts.Version, PID: os.Getpid(), Clock: clock, Suspended: l.suspended, Started: l.started,
		Node: l.node.Seal(time.Now()), Hooks: l.hookRuns.list(), Queues: l.notifier.Seal(), Checks: l.monitors.list(),
	}
	if r := l.reexeced.Load(); r != nil {
		s.Reexec = new(*r)
	}
	return s, nil
}
