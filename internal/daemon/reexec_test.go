package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
)

// TestSignalBeforeTheExchange: a signal to stop that came while the loop was sealing its state is not lost with the old program. The
// new one is a file that cannot be executed.
func TestSignalBeforeTheExchange(t *testing.T) {
	program := filepath.Join(t.TempDir(), "understudy")
	if err := os.WriteFile(program, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tried, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	d := newDaemon(&config.Config{Node: "lb1"}, Options{Log: hclog.NewNullLogger(), Program: program})
	var stop context.CancelFunc
	d.stop, stop = context.WithCancel(t.Context())
	defer stop()
	if err := d.become(&sealedState{}, tried, 0); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("without a signal: %v, want that it is executed", err)
	}
	stop()
	if err := d.become(&sealedState{}, tried, 0); !errors.Is(err, errStopping) {
		t.Errorf("after the signal: %v", err)
	}
}
