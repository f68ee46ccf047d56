package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

func TestStatusOfCheck(t *testing.T) {
	now := time.Now()
	dir := reportingDaemon(t, node.Report{Node: &node.Status{Node: "lb1"}, Checks: []node.CheckReport{
		{Name: "page", Kind: "http", Known: true, Healthy: true, Reason: "200 OK", At: now},
		{Name: "disk", Kind: "script", Known: true, Reason: "exit status 1", Output: "looking\n97% full\n", Streak: 1, Need: 2, At: now},
		{Name: "new", Kind: "tcp"},
	}})
	for _, tt := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"healthy", []string{"page"}, exitOK, []string{"page", "http", "healthy", "200 OK"}},
		{"unhealthy, with its output", []string{"disk"}, exitFault, []string{"UNHEALTHY (1 of 2 the other way)", "  | looking\n  | 97% full\n"}},
		{"without a verdict", []string{"new"}, exitBackup, []string{"no result yet"}},
		{"as JSON", []string{"disk", "--json"}, exitFault, []string{`"output": "looking\n97% full\n"`}},
		{"unknown", []string{"none"}, exitError, []string{`no check "none" here`}},
		{"with an instance", []string{"page", "web"}, exitUsage, []string{"not both"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			code := run(t.Context(), append([]string{"status", "--runtime-dir", dir, "--check"}, tt.args...), &out, &out)
			if code != tt.code {
				t.Errorf("exit %d, want %d", code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it prints\n%swant %q", &out, want)
				}
			}
		})
	}
}
