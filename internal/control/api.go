package control

import (
	"context"

	"github.com/understudy-ha/understudy/internal/node"
)

// socketName is the socket's file in the runtime directory.
const socketName = "control.sock"

// Daemon is what the server needs of the daemon. Its methods return within the context, and never hold up the loop.
type Daemon interface {
	// Report is everything that status shows.
	Report() node.Report
	// Drain yields every instance until Undrain of the same name, and waits until another host has the addresses.
	Drain(ctx context.Context, name string) (node.Drained, error)
	// Undrain lifts one name's drain.
	Undrain(ctx context.Context, name string) error
	// Reload reads the configuration again; the error holds the diagnostics.
	Reload(ctx context.Context) (node.Reloaded, error)
	// Reexec makes the process another program. It returns only if that failed: everything goes on as it was.
	Reexec(ctx context.Context) error
}
