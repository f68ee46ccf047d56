package config

import (
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/notify"
)

// Config is a whole, valid configuration as one node sees it.
type Config struct {
	// Node is the node's name, the value of the variable hostname.
	Node      string
	Instances []node.Instance
	Groups    []node.Group
	Checks    []Check
	Hooks     []Hook
	Control   Control
	Reload    Reload
	Log       Log
	// Files are the paths of all that was read or looked for: what changes there may change the configuration.
	Files []string
	// Findings are what there is to say of it all the same: warnings and notes.
	Findings []Finding
}

// Check is a check block. Its name is unique across kinds.
type Check struct {
	Name, Kind string
	// Timing is complete: the kind's defaults are filled in.
	Timing  checks.Timing
	Options checks.Options
	// Reads are digests of the files that the options name, by their paths.
	Reads  map[string]string
	Effect node.Effect
	Range  hcl.Range
}

// LooksAtTheSame says whether another check has its results from the same thing, by whatever means.
func (c Check) LooksAtTheSame(as Check) bool {
	return c.Kind == as.Kind && reflect.DeepEqual(c.Options, as.Options)
}

// RunsAs says whether another check is run in the same way; what being unhealthy does may differ.
func (c Check) RunsAs(as Check) bool {
	return c.LooksAtTheSame(as) && c.Timing == as.Timing && maps.Equal(c.Reads, as.Reads)
}

// Hook is a notify block. Its name is unique across kinds.
type Hook struct {
	Name, Kind string
	// PerHost says that one run serves all instances that changed.
	PerHost  bool
	Settings notify.Settings
	Options  notify.Options
	Range    hcl.Range
}

// Build makes the hook that notify runs.
func (h Hook) Build() (notify.Hook, error) {
	runner, err := h.Options.New()
	if err != nil {
		return notify.Hook{}, fmt.Errorf("make notify %q %q: %w", h.Kind, h.Name, err)
	}
	return notify.Hook{Name: h.Name, Kind: h.Kind, PerHost: h.PerHost, Settings: h.Settings, Runner: runner}, nil
}

// Control is the control block.
type Control struct {
	// SteerGroup may steer beside root; empty: nobody else may.
	SteerGroup string
}

// Reload is the reload block.
type Reload struct {
	// Watch makes the daemon reload by itself when one of Files changes.
	Watch bool
}

// Log is the log block.
type Log struct {
	Level  string // "trace", "debug", "info", "warn" or "error"
	Format string // "text" or "json"
}

// The values of the log block.
var (
	logLevels  = []string{"trace", "debug", "info", "warn", "error"}
	logFormats = []string{"text", "json"}
)

// Source is a file that was read.
type Source struct {
	// Path is as given or found, so that the places in diagnostics can be opened.
	Path  string
	Bytes []byte
}

// Options are the circumstances of a Load or a Validate.
type Options struct {
	// Node is the name of this node; empty: HostName.
	Node string
	// OnThisHost makes what can be known on this very machine (a script that does not exist) an error, as run wants it;
	// otherwise it is a warning.
	OnThisHost bool
	// Here makes what this machine lacks an error for Validate, which is told by it that the machine is to run the configuration: as the
	// node that has its name, or as the first one.
	Here bool
	// Judge says why instances of a configuration could not take part on this machine, by their names, so that Validate can; nil:
	// nobody asks.
	Judge func(*Config) (map[string]string, error)
	// Remarks says what a setting of this machine lets others do to instances of a configuration, by their names; nil: nobody asks.
	Remarks func(*Config) map[string]string
	// Getenv is what the function env asks; nil: os.LookupEnv.
	Getenv func(string) (string, bool)
	// Helper is the socket of the helper that a daemon which is not root asks to run commands as other users; empty: none.
	Helper string
}

// The limits of what can be written, each also in the message that refuses it.
const (
	maxVRID         = 255
	minPriority     = 2
	maxPriority     = 255
	minDeadAdverts  = 2 // a master whose last advert is longer ago listens before it speaks: with one it would at every beat
	maxDeadAdverts  = 100
	maxWeight       = 253 // more would move any priority past its bounds
	maxDelay        = 24 * time.Hour
	minRefresh      = time.Second
	maxPacing       = 10 * time.Second
	maxAddresses    = 255 // per family: Count IPvX Addr has eight bits (RFC 9568 section 5.2.5)
	maxInterface    = 15  // IFNAMSIZ without the final zero
	leaseAddresses  = 64  // above as many on a host, leases are off by default
	maxHookTimeout  = time.Hour
	maxCheckPeriod  = 24 * time.Hour
	maxNameLength   = 64
	maxKeyID        = 255
	maxSourceBytes  = 1 << 20
	maxSourcesCount = 1000
)
