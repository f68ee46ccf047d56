package node

import "time"

// Report is what status shows.
type Report struct {
	Version string        `json:"version"`
	PID     int           `json:"pid"`
	Started time.Time     `json:"started"`
	Node    *Status       `json:"node"`
	Checks  []CheckReport `json:"checks"`
	Hooks   []HookReport  `json:"hooks,omitempty"`
	Config  ConfigReport  `json:"config"`
	Reexec  *ReexecReport `json:"reexec,omitempty"` // nil: it was not asked for yet
	// Remarks are what a setting of the host lets others do, and what to do about it, by instance.
	Remarks map[string]string `json:"remarks,omitempty"`
}

// ReexecReport says how the daemon's program was exchanged while it ran, or why it was not.
type ReexecReport struct {
	At        time.Time `json:"at,omitzero"`
	From      string    `json:"from,omitempty"`    // the version before
	Refused   string    `json:"refused,omitempty"` // why the newest try left the program as it was; empty: it did not
	RefusedAt time.Time `json:"refused_at,omitzero"`
}

// CheckReport is a check's last run and verdict.
type CheckReport struct {
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
	Hint    string        `json:"hint,omitempty"` // what may be behind a failure, and what to do about it
}

// HookReport is a hook's last run for one instance.
type HookReport struct {
	Name     string        `json:"name"`
	Instance string        `json:"instance"`
	State    string        `json:"state"`
	At       time.Time     `json:"at"`
	Took     time.Duration `json:"took_ns"`
	Error    string        `json:"error,omitempty"`
	Output   string        `json:"output,omitempty"`
}

// ConfigReport says what the daemon runs with, and whether the files say something else by now.
type ConfigReport struct {
	Paths    []string  `json:"paths"`
	Loaded   time.Time `json:"loaded"`
	Rejected string    `json:"rejected,omitempty"` // the diagnostics of the newest files, if they cannot be run
	Since    time.Time `json:"rejected_at,omitzero"`
	// Unwatched says why a change of some file is not noticed by itself.
	Unwatched string `json:"unwatched,omitempty"`
}

// Drained is the end of a drain.
type Drained struct {
	// Moved are the instances that another host took, and To says of each which one, as LetGo does; Kept are those that nobody took:
	// this host serves on and offers again.
	Moved []string          `json:"moved"`
	To    map[string]string `json:"to,omitempty"`
	Kept  []string          `json:"kept"`
	// Dropped are those that this host has let go of although nobody was heard to take over, and Why says of each what made it.
	Dropped []string          `json:"dropped,omitempty"`
	Why     map[string]string `json:"why,omitempty"`
	// Dead are those whose process has ended, so that they serve nothing: their handover goes on, and was not waited for.
	Dead []string `json:"dead,omitempty"`
	// Removed are those that a reload has removed meanwhile: this host has let go of them, whether or not another one took them.
	Removed []string `json:"removed,omitempty"`
	// Unsaved says why the drain will not outlive this daemon.
	Unsaved string `json:"unsaved,omitempty"`
}

// Undrained is the end of an undrain.
type Undrained struct {
	Unknown bool `json:"unknown,omitempty"` // there was no drain of that name
}

// Reloaded is the end of a reload.
type Reloaded struct {
	Changed bool   `json:"changed"`
	Summary string `json:"summary"`
}
