package control

import (
	"context"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// SocketName is the socket's file in the runtime directory.
const SocketName = "control.sock"

// Daemon is what the server needs of the daemon. Its methods return within the context, and never hold up the loop.
type Daemon interface {
	// Report is everything that status shows.
	Report() Report
	// Drain yields every instance until Undrain of the same name, and waits until another host has the addresses.
	Drain(ctx context.Context, name string) (Drained, error)
	// Undrain lifts one name's drain.
	Undrain(ctx context.Context, name string) error
	// Reload reads the configuration again; the error holds the diagnostics.
	Reload(ctx context.Context) (Reloaded, error)
}

// Report is what status shows.
type Report struct {
	Version string        `json:"version"`
	PID     int           `json:"pid"`
	Started time.Time     `json:"started"`
	Node    *node.Status  `json:"node"`
	Checks  []Check       `json:"checks"`
	Hooks   []Hook        `json:"hooks,omitempty"`
	Config  Configuration `json:"config"`
}

// Check is a check's last run and verdict.
type Check struct {
	Name    string        `json:"name"`
	Kind    string        `json:"kind"`
	Known   bool          `json:"known"` // it has run at least once
	Healthy bool          `json:"healthy"`
	Reason  string        `json:"reason"`
	Output  string        `json:"output,omitempty"`
	Streak  int           `json:"streak"` // runs in a row that contradict the verdict,
	Need    int           `json:"need"`   // of as many that change it
	At      time.Time     `json:"at,omitzero"`
	Took    time.Duration `json:"took_ns"`
	Warning string        `json:"warning,omitempty"`
}

// Hook is a hook's last run for one instance.
type Hook struct {
	Name     string        `json:"name"`
	Instance string        `json:"instance"`
	State    string        `json:"state"`
	At       time.Time     `json:"at"`
	Took     time.Duration `json:"took_ns"`
	Error    string        `json:"error,omitempty"`
	Output   string        `json:"output,omitempty"`
}

// Configuration says what the daemon runs with, and whether the files say something else by now.
type Configuration struct {
	Paths    []string  `json:"paths"`
	Loaded   time.Time `json:"loaded"`
	Rejected string    `json:"rejected,omitempty"` // the diagnostics of the newest files, if they cannot be run
	Since    time.Time `json:"rejected_at,omitzero"`
}

// Drained is the end of a drain.
type Drained struct {
	// Moved are the instances that another host took; Kept those that nobody took: this host serves on and offers again.
	Moved []string `json:"moved"`
	Kept  []string `json:"kept"`
	// Unsaved says why the drain will not outlive this daemon.
	Unsaved string `json:"unsaved,omitempty"`
}

// Reloaded is the end of a reload.
type Reloaded struct {
	Changed bool   `json:"changed"`
	Summary string `json:"summary"`
}
