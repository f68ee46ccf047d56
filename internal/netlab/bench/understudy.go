package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// understudy is the daemon of this project.
type understudy struct{ binary string }

var _ product = (*understudy)(nil)

func newUnderstudy(binary string) (*understudy, error) {
	path, err := filepath.Abs(binary)
	return &understudy{path}, err
}

func (u *understudy) name() string { return "understudy" }

func (u *understudy) write(s *server, interval time.Duration, verbose bool, e edit) error {
	level := "info"
	if verbose {
		level = "debug"
	}
	text := fmt.Sprintf(`log {
  level = %q
}

instance "web" {
  interface          = "eth0"
  vrid               = %d
  priority           = %d
  addresses          = [%q]
  advertise_interval = "%v"
}

check "process" "nginx" {
  pid_file = %q
}

check "http" "page" {
  url      = "http://127.0.0.1/healthz"
  interval = "%v"
  timeout  = "%v"
  rise     = %d
  fall     = %d
}
`, level, vrid, s.priority-e.less, vip, interval, s.nginx.PIDFile(), pageInterval, pageTimeout, pageRise, pageFall)
	return s.install("understudy.hcl", e.cut(text))
}

func (u *understudy) start(s *server) (*process, error) {
	for _, dir := range []string{s.run(), s.file("state")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	return startProcess("understudy on "+s.Name(), s.Dir(), "ip", "netns", "exec", s.Namespace(), u.binary, "run",
		"--config", s.file("understudy.hcl"), "--node", s.Name(), "--runtime-dir", s.run(), "--state-dir", s.file("state"))
}

// run is the runtime directory: in memory, as /run is, since what is written there stands between an election and the addresses.
func (s *server) run() string { return filepath.Join("/dev/shm", "understudy-bench-"+s.Namespace()) }

// command runs a command of understudy for the daemon of a host.
func (u *understudy) command(ctx context.Context, s *server, args ...string) error {
	args = append(args, "--runtime-dir", s.run(), "--state-dir", s.file("state"))
	_, err := s.Exec(ctx, append([]string{u.binary}, args...)...)
	return err
}

func (u *understudy) drain(ctx context.Context, s *server, on bool) error {
	if on {
		return u.command(ctx, s, "drain")
	}
	return u.command(ctx, s, "undrain")
}

func (u *understudy) nginxStop(ctx context.Context, s *server, on bool) error {
	if on {
		return u.command(ctx, s, "drain", "--for", "nginx-stop")
	}
	return u.command(ctx, s, "undrain", "--for", "nginx-stop")
}

func (u *understudy) reload(ctx context.Context, s *server) error { return u.command(ctx, s, "reload") }

func (u *understudy) cleanup(s *server) error { return os.RemoveAll(s.run()) }

func (u *understudy) writeScale(s *server, c scaleCase) error {
	var text strings.Builder
	for _, i := range c.all() {
		fmt.Fprintf(&text, `instance "%[1]s" {
  interface          = "%[2]s"
  vrid               = %[3]d
  priority           = %[4]d
  addresses          = ["%[5]v"]
  advertise_interval = "%[6]v"
  lease              = %[7]t
}
`, i.name, i.link, i.vrid, s.priority, i.addr, c.interval, c.lease)
	}
	for n := range c.checks {
		fmt.Fprintf(&text, `check "http" "page%d" {
  url      = "http://127.0.0.1/healthz"
  interval = "%v"
  timeout  = "%v"
}
`, n, pageInterval, pageTimeout)
	}
	return s.install("understudy.hcl", text.String())
}
