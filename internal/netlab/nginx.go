package netlab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// nginxBound is how long nginx may take to serve after its start, to end, or to change over to a new binary.
const nginxBound = 10 * time.Second

// NginxOptions is what a host's nginx may do otherwise than by default.
type NginxOptions struct {
	// Listen holds the addresses to listen on. Left out: "0.0.0.0:80" and, where the kernel has it, "[::]:80".
	Listen []string
	// Program is the path of the nginx to run; left out: the one of the machine. Its processes have its file's name, also
	// where it is a link, so that who finds processes by name can tell the hosts' nginx apart.
	Program string
	// Server is put into the server block, below what is there already.
	Server string
}

// Nginx is a real nginx on a host, with every file of its own below the host's directory. It answers / with the host's name
// and /healthz with 200, or with 500 after SetHealthy(false).
type Nginx struct {
	host *Host
	dir  string
	path string // of the program; absolute, since an upgrade executes it again without a look at PATH
	opts NginxOptions
}

// Nginx writes the configuration of an nginx, starts it and waits until it serves.
func (h *Host) Nginx(ctx context.Context, opts NginxOptions) (*Nginx, error) {
	if opts.Program == "" {
		var err error
		if opts.Program, err = Find("nginx"); err != nil {
			return nil, err
		}
	}
	n := &Nginx{host: h, dir: filepath.Join(h.dir, "nginx"), path: opts.Program, opts: opts}
	if len(n.opts.Listen) == 0 {
		n.opts.Listen = []string{"0.0.0.0:80"}
		if h.hasIPv6() {
			n.opts.Listen = append(n.opts.Listen, "[::]:80")
		}
	}
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(n.ConfigFile(), []byte(n.config()), 0o644); err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *Nginx) config() string {
	var listen strings.Builder
	for _, l := range n.opts.Listen {
		fmt.Fprintf(&listen, "\t\tlisten %s;\n", l)
	}
	return fmt.Sprintf(`user root;
worker_processes 2;
pid %[1]s;
error_log %[2]s/error.log notice;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	server {
%[3]s		default_type text/plain;
		location = /healthz {
			if (-f %[4]s) { return 500 "unhealthy\n"; }
			return 200 "healthy\n";
		}
		location / { return 200 "%[5]s\n"; }
		%[6]s
	}
}
`, n.PIDFile(), n.dir, listen.String(), n.unhealthyFile(), n.host.name, n.opts.Server)
}

// ConfigFile is nginx's configuration.
func (n *Nginx) ConfigFile() string { return filepath.Join(n.dir, "nginx.conf") }

// PIDFile holds the process id of the master. A killed nginx leaves it behind.
func (n *Nginx) PIDFile() string { return filepath.Join(n.dir, "nginx.pid") }

func (n *Nginx) unhealthyFile() string { return filepath.Join(n.dir, "unhealthy") }

// Command is nginx's command line with this configuration and further arguments, such as "-t" or "-s", "reload".
func (n *Nginx) Command(args ...string) []string {
	return append([]string{n.path, "-p", n.dir, "-e", filepath.Join(n.dir, "error.log"), "-c", n.ConfigFile()}, args...)
}

// Start starts nginx and waits until it serves.
func (n *Nginx) Start(ctx context.Context) error {
	// It becomes a daemon, as under systemd: only such a master can be upgraded by USR2.
	if _, err := n.host.Exec(ctx, n.Command()...); err != nil {
		return err
	}
	return Eventually(ctx, nginxBound, func() (bool, string) {
		pid, err := n.MasterPID()
		if err != nil || !n.isOwn(pid) {
			return false, fmt.Sprintf("nginx on %s has not written %s", n.host.name, n.PIDFile())
		}
		return n.host.accepts(ctx, n.opts.Listen[0])
	})
}

// accepts says whether something on the host accepts connections at an address it listens on.
func (h *Host) accepts(ctx context.Context, listen string) (bool, string) {
	listen = strings.NewReplacer("0.0.0.0:", "127.0.0.1:", "[::]:", "[::1]:").Replace(listen)
	conn, err := h.Dial(ctx, "tcp", listen)
	if err != nil {
		return false, err.Error()
	}
	return conn.Close() == nil, ""
}

// MasterPID reads the pid file.
func (n *Nginx) MasterPID() (int, error) {
	text, err := os.ReadFile(n.PIDFile())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// SetHealthy makes /healthz answer 200 or 500, from the next request on. Everything else is served as before.
func (n *Nginx) SetHealthy(healthy bool) error {
	if !healthy {
		return os.WriteFile(n.unhealthyFile(), nil, 0o644)
	}
	if err := os.Remove(n.unhealthyFile()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Reload tests the configuration and has nginx read it again.
func (n *Nginx) Reload(ctx context.Context) error {
	_, err := n.host.Exec(ctx, n.Command("-s", "reload")...)
	return err
}

// Quit ends nginx in order: it serves open requests to their end (SIGQUIT).
func (n *Nginx) Quit(ctx context.Context) error {
	if _, err := n.host.Exec(ctx, n.Command("-s", "quit")...); err != nil {
		return err
	}
	return n.awaitGone(ctx)
}

// Kill ends all of nginx by SIGKILL, the master first, and leaves its pid file, as an OOM kill does.
func (n *Nginx) Kill(ctx context.Context) error {
	if err := n.signalAll(syscall.SIGKILL); err != nil {
		return err
	}
	return n.awaitGone(ctx)
}

// Freeze stops all of nginx by SIGSTOP: it hangs, and the kernel goes on accepting connections for it.
func (n *Nginx) Freeze() error { return n.signalAll(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (n *Nginx) Thaw() error { return n.signalAll(syscall.SIGCONT) }

func (n *Nginx) signalAll(sig syscall.Signal) error {
	master, err := n.MasterPID()
	if err != nil {
		return err
	}
	var hit []int
	// The master first, or it would start new workers.
	for _, match := range []func(int) bool{
		func(pid int) bool { return pid == master && n.isOwn(pid) },
		func(pid int) bool { return pid != master && n.isOwn(pid) },
	} {
		pids, err := n.host.ns.signal(sig, match)
		if err != nil {
			return err
		}
		hit = append(hit, pids...)
	}
	if !slices.Contains(hit, master) {
		return fmt.Errorf("signal %v to nginx on %s: no master with pid %d", sig, n.host.name, master)
	}
	return nil
}

// isOwn says whether a process of the host is one of this nginx, by the name of its program.
func (n *Nginx) isOwn(pid int) bool {
	const maxName = 15 // of a process, as the kernel keeps it
	name := filepath.Base(n.path)
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && strings.TrimSpace(string(comm)) == name[:min(len(name), maxName)]
}

func (n *Nginx) awaitGone(ctx context.Context) error {
	return Eventually(ctx, nginxBound, func() (bool, string) {
		pids, err := n.host.ns.signal(0, n.isOwn)
		if err != nil {
			return false, err.Error()
		}
		return len(pids) == 0, fmt.Sprintf("nginx on %s still runs as %v", n.host.name, pids)
	})
}

// Upgrade changes over to a new nginx binary without a pause, as its package does: USR2, and QUIT to the old master once the
// new one serves.
func (n *Nginx) Upgrade(ctx context.Context) error {
	old, err := n.MasterPID()
	if err != nil {
		return err
	}
	if err := n.signalMaster(old, syscall.SIGUSR2); err != nil {
		return err
	}
	err = Eventually(ctx, nginxBound, func() (bool, string) {
		pid, err := n.MasterPID()
		if err != nil || pid == old {
			return false, fmt.Sprintf("nginx on %s has no new master beside %d", n.host.name, old)
		}
		workers, err := children(pid)
		return err == nil && len(workers) == 2, fmt.Sprintf("new nginx master %d on %s has workers %v", pid, n.host.name, workers)
	})
	if err != nil {
		return err
	}
	if err := n.signalMaster(old, syscall.SIGQUIT); err != nil {
		return err
	}
	return Eventually(ctx, nginxBound, func() (bool, string) {
		pids, err := n.host.ns.signal(0, func(pid int) bool { return pid == old })
		return err == nil && len(pids) == 0, fmt.Sprintf("old nginx master %d on %s still runs", old, n.host.name)
	})
}

func (n *Nginx) signalMaster(pid int, sig syscall.Signal) error {
	hit, err := n.host.ns.signal(sig, func(p int) bool { return p == pid && n.isOwn(p) })
	if err == nil && len(hit) != 1 {
		err = errors.New("it is not running")
	}
	if err != nil {
		return fmt.Errorf("signal %v to nginx master %d on %s: %w", sig, pid, n.host.name, err)
	}
	return nil
}

// children lists the processes that a process has started.
func children(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", pid))
	return strings.Fields(string(text)), err
}
