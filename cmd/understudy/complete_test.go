package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/node"
)

// reporting is a daemon that only reports.
type reporting struct {
	control.Daemon
	report node.Report
}

func (r reporting) Report() node.Report { return r.report }

// reportingDaemon serves a report, and returns the directory of its socket.
func reportingDaemon(t *testing.T, r node.Report) string {
	t.Helper()
	return served(t, reporting{report: r})
}

// served serves a daemon, and returns the directory of its socket.
func served(t *testing.T, d control.Daemon) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "complete") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := control.Listen(dir, "", d, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestCompletions asks as the scripts of the shells do. The last line is what the shell is to do with files: 0 to offer them,
// 4 not to, 16 to offer directories.
func TestCompletions(t *testing.T) {
	dir := reportingDaemon(t, node.Report{
		Node: &node.Status{
			Node: "lb1", Drained: []string{"admin", "nginx-stop"},
			Instances: []node.InstanceStatus{{Name: "web", State: node.Master}, {Name: "inside", State: node.Backup}},
			Groups:    []node.GroupStatus{{Name: "edge", State: node.Fault}},
		},
		Checks: []node.CheckReport{{Name: "page", Known: true, Healthy: true}, {Name: "disk", Known: true}, {Name: "new"}},
	})
	running, stopped := "--runtime-dir="+dir, "--runtime-dir="+filepath.Join(dir, "none")
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"what has a state", []string{"status", running, ""}, "web\tinstance, master\ninside\tinstance, backup\nedge\tgroup, fault\n:4\n"},
		{"nothing behind the first", []string{"status", running, "web", ""}, ":4\n"},
		{"nothing without a daemon", []string{"status", stopped, ""}, ":4\n"},
		{"whose drain to lift", []string{"undrain", running, "--for", ""}, "admin\tdrains this host\nnginx-stop\tdrains this host\n:4\n"},
		{"which check to show", []string{"status", running, "--check", ""}, "page\tcheck, healthy\ndisk\tcheck, unhealthy\nnew\tcheck, no result yet\n:4\n"},
		{"no drain without a daemon", []string{"undrain", stopped, "--for", ""}, ":4\n"},
		{"no files for a name that is new", []string{"drain", running, "--for", ""}, ":4\n"},
		{"no files where nothing is named", []string{"reload", ""}, ":4\n"},
		{"files to validate", []string{"validate", ""}, ":0\n"},
		{"files of the configuration", []string{"run", "--config", ""}, ":0\n"},
		{"directories", []string{"run", "--runtime-dir", ""}, ":16\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if code := run(t.Context(), append([]string{"__complete"}, tt.args...), &out, t.Output()); code != exitOK {
				t.Fatalf("exit %d", code)
			}
			if out.String() != tt.want {
				t.Errorf("offered\n%swant\n%s", &out, tt.want)
			}
		})
	}
}
