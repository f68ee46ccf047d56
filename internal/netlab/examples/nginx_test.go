package examples

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// nginxConf is nginx's main file, in the manner of Debian's.
const nginxConf = `user www-data;
worker_processes 2;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log notice;
%s
events { worker_connections 1024; }
http {
	access_log off;
	default_type text/plain;
	include /etc/nginx/conf.d/*.conf;
}
`

// site is what the users come for: who asks learns which machine answers.
const site = `server {
	listen 80 default_server;
	listen [::]:80 default_server;
	client_header_timeout 2s;
	return 200 "$hostname\n";
}
`

// installNginx gives the machine an nginx with snippets in conf.d, and lines of its main file's top level.
func (m *machine) installNginx(t testing.TB, top string, snippets map[string]string) {
	t.Helper()
	labtest.Require(t, "nginx")
	m.write(t, "/etc/nginx/nginx.conf", fmt.Sprintf(nginxConf, top), 0o644)
	for name, text := range snippets {
		m.write(t, "/etc/nginx/conf.d/"+name, text, 0o644)
	}
}

// startNginx starts the machine's nginx as its unit does, and waits until it serves.
func (m *machine) startNginx(t testing.TB) {
	t.Helper()
	m.sh(t, "nginx -t -q && nginx")
	labtest.Eventually(t, bootBound, func() (bool, string) {
		pid := m.nginxPID(t)
		return pid > 0, "nginx on " + m.Name() + " has written no pid file"
	})
}

// nginxPID is the id of nginx's master as the machine knows it, 0 if there is none.
func (m *machine) nginxPID(t testing.TB) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(m.read(t, "/run/nginx.pid")))
	if err != nil {
		return 0
	}
	return pid
}

// killNginx ends nginx by SIGKILL, the master and its workers, as the kernel does where memory runs out.
func (m *machine) killNginx(t testing.TB) {
	t.Helper()
	m.sh(t, fmt.Sprintf(`kill -KILL %[1]d $(cat /proc/%[1]d/task/%[1]d/children)`, m.nginxPID(t)))
}

// nginxReloads counts how often nginx was reloaded.
func (m *machine) nginxReloads(t testing.TB) int {
	t.Helper()
	return strings.Count(m.read(t, "/var/log/nginx/error.log"), "(SIGHUP) received from")
}
