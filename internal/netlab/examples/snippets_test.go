package examples

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// TestNginxSnippets installs the snippets as the README tells, and has nginx listen on the addresses on both hosts.
func TestNginxSnippets(t *testing.T) {
	t.Parallel()
	l := newLab(t, pairNetwork)
	l.all(func(m *machine) {
		m.installNginx(t, "include /etc/nginx/understudy-top.conf;", nil)
		m.follow(t, "nginx/README.md", commands(t, "nginx/README.md", "install"))
		m.startNginx(t)
		m.valid(t)
		m.Start(t)
	})
	l.Settled(t, "lb1")
	lb1, lb2 := l.machines["lb1"], l.machines["lb2"]
	if status := lb2.sh(t, "curl -fsS http://127.0.0.1:8080/nginx_status"); !strings.Contains(status, "Active connections:") {
		t.Errorf("the status of nginx is %q", status)
	}
	if all := lb1.sh(t, "nginx -T 2>/dev/null"); !strings.Contains(all, "\nworker_shutdown_timeout 30s;") {
		t.Errorf("nginx has no worker_shutdown_timeout:\n%s", all)
	}

	from := pairtest.Step(t, func() error { lb1.killNginx(t); return nil })
	l.Only(t, "lb2", 5*time.Second)
	for _, vip := range l.VIPs {
		l.Moved(t, vip, from, "lb2")
		l.Outage(t, vip, from, noise, "lb2")
	}
	lb1.startNginx(t)
	l.Settled(t, "lb2")
}
