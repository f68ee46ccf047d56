package netlab_test

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

func TestNginx(t *testing.T) {
	t.Parallel()
	labtest.Root(t)
	labtest.Require(t, "nginx")
	l := labtest.New(t)
	server := labtest.Host(t, l, "web", "10.0.0.1/24", "fd00::1/64")
	user := labtest.Host(t, l, "client", "10.0.0.2/24", "fd00::2/64")
	n := labtest.Nginx(t, server)
	pages := labtest.Client(t, user, "[fd00::1]:80", netlab.ClientOptions{})
	health := labtest.Client(t, user, "10.0.0.1:80", netlab.ClientOptions{Path: "/healthz"})
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// see is what both clients get from now on for a while.
	see := func() (netlab.Attempts, netlab.Attempts) {
		from := time.Now()
		to := from.Add(100 * time.Millisecond)
		return pages.Between(from, to), health.Between(from, to)
	}
	want := func(step string, a netlab.Attempts, failed, text string) {
		t.Helper()
		if (len(a.Failed()) == 0) != (failed == "") || !strings.Contains(a.String(), failed) || a.LastServer() != text {
			t.Errorf("%s: %v", step, a)
		}
	}

	p, h := see()
	want("pages at start", p, "", "web")
	want("health at start", h, "", "healthy")

	check(n.SetHealthy(false))
	p, h = see()
	want("pages while unhealthy", p, "", "web")
	want("health while unhealthy", h, "status 500", "")
	check(n.SetHealthy(true))
	check(n.SetHealthy(true))
	_, h = see()
	want("health again", h, "", "healthy")

	from := time.Now()
	old, err := n.MasterPID()
	check(err)
	check(n.Upgrade(t.Context()))
	check(n.Reload(t.Context()))
	p, _ = see()
	p = pages.Between(from, p.To)
	want("pages over an upgrade and a reload", p, "", "web")
	if pid, err := n.MasterPID(); err != nil || pid == old {
		t.Errorf("the master is %d as before, %v", pid, err)
	}

	check(n.Freeze())
	p, _ = see()
	want("pages while nginx hangs", p, "read: i/o timeout", "")
	check(n.Thaw())

	check(n.Kill(t.Context()))
	p, _ = see()
	want("pages after a kill", p, "connection refused", "")
	if _, err := n.MasterPID(); err != nil {
		t.Errorf("a kill leaves the pid file: %v", err)
	}
	check(n.Start(t.Context()))
	check(n.Quit(t.Context()))
	check(n.Start(t.Context()))
	p, _ = see()
	want("pages after a start", p, "", "web")
}

func TestNginxThatCannotStartSaysWhy(t *testing.T) {
	labtest.Root(t)
	labtest.Require(t, "nginx")
	h := labtest.Host(t, labtest.New(t), "web")
	_, err := h.Nginx(t.Context(), netlab.NginxOptions{Listen: []string{"10.9.9.9:80"}})
	if err == nil || !strings.Contains(err.Error(), "on web: run ") || !strings.Contains(err.Error(), "10.9.9.9:80") {
		t.Errorf("error %v", err)
	}
}
