package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// penalty is what a failing check subtracts in the weight variant: enough to fall below the other host.
	penalty = 60
	// namespaceBound is how long keepalived may take to enter its host's network.
	namespaceBound = 5 * time.Second
	// keepalivedPIDs is where keepalived makes a directory for each network namespace.
	keepalivedPIDs = "/run/keepalived"
)

// keepalived is keepalived at its best: VRRPv3, process tracking by the kernel's events, the guard against reloads of broken
// files, the switch of max_auto_priority that it recommends. Its announcements are at their defaults: five at once, five
// more after 5 s, no refresh.
type keepalived struct{ weight bool }

var _ product = (*keepalived)(nil)

func (k *keepalived) name() string {
	if k.weight {
		return "keepalived-weight"
	}
	return "keepalived"
}

func (k *keepalived) write(s *server, interval time.Duration, verbose bool, e edit) error {
	curl, err := netlab.Find("curl")
	if err != nil {
		return err
	}
	weight := 0
	if k.weight {
		weight = -penalty
	}
	if err := k.setDrained(s, false); err != nil {
		return err
	}
	text := k.global(s) + fmt.Sprintf(`vrrp_track_process nginx {
	process %[1]s
	quorum 1
	weight %[2]d
}
vrrp_script page {
	script "%[3]s -fsS -m %[4]v -o /dev/null http://127.0.0.1/healthz"
	interval %[5]v
	timeout %[5]v
	fall %[6]d
	rise %[7]d
	weight %[2]d
}
track_file drained {
	file %[8]s
	weight 0
}
vrrp_instance web {
	interface eth0
	state BACKUP
	virtual_router_id %[9]d
	priority %[10]d
	advert_int %[11]v
	track_process {
		nginx
	}
	track_script {
		page
	}
	track_file {
		drained
	}
	virtual_ipaddress {
		%[12]v
	}
}
`, nginxName(s.Host), weight, curl, pageTimeout.Seconds(), pageInterval.Seconds(), pageFall, pageRise, s.file("drained"),
		vrid, s.priority-e.less, interval.Seconds(), vip)
	return k.install(s, e.cut(text), verbose)
}

// global is the head of every configuration. With its own option keepalived enters the host's network after it has asked for
// the kernel's process events, which exist in the first network only: started inside, its process tracking sees nothing.
func (k *keepalived) global(s *server) string {
	return fmt.Sprintf(`net_namespace %s
global_defs {
	vrrp_version 3
	enable_script_security
	script_user root
	max_auto_priority 50
	reload_check_config
}
`, s.Namespace())
}

// install also says how much to log; keepalived takes that from its command line.
func (k *keepalived) install(s *server, text string, verbose bool) error {
	if err := s.install("keepalived.conf", text); err != nil {
		return err
	}
	if verbose {
		return s.install("verbose", "")
	}
	return nil
}

func (k *keepalived) start(s *server) (*process, error) {
	path, err := netlab.Find("keepalived")
	if err != nil {
		return nil, err
	}
	argv := []string{path, "-n", "-l", "-P", "-f", s.file("keepalived.conf"), "-p", s.file("keepalived.pid"), "-r", s.file("vrrp.pid")}
	if _, err := os.Stat(s.file("verbose")); err == nil {
		argv = append(argv, "-D")
	}
	p, err := startProcess("keepalived on "+s.Name(), s.Dir(), argv...)
	if err != nil {
		return nil, err
	}
	// It begins in the machine's own network, and must not stay there.
	err = netlab.Eventually(context.Background(), namespaceBound, func() (bool, string) {
		pids := tree(p.pid())
		for _, pid := range pids {
			if err := s.sameNamespace(pid); err != nil {
				return false, fmt.Sprintf("%v:\n%s", err, p.tail())
			}
		}
		return len(pids) > 1, fmt.Sprintf("%s has no VRRP process:\n%s", p.title, p.tail())
	})
	if err != nil {
		return nil, errors.Join(err, p.kill())
	}
	return p, nil
}

// drain uses a tracked file, keepalived's usual switch for maintenance.
func (k *keepalived) drain(_ context.Context, s *server, on bool) error { return k.setDrained(s, on) }

func (k *keepalived) setDrained(s *server, on bool) error {
	text := "0\n"
	if on {
		text = "1\n"
	}
	return os.WriteFile(s.file("drained"), []byte(text), 0o600)
}

// nginxStop does nothing: keepalived's packages have nothing that moves the address before nginx stops.
func (k *keepalived) nginxStop(context.Context, *server, bool) error { return nil }

func (k *keepalived) reload(_ context.Context, s *server) error {
	return s.daemon.cmd.Process.Signal(syscall.SIGHUP)
}

// cleanup removes the pid files, which name processes that may not have been reaped yet, and the directory of the host's
// network namespace.
func (k *keepalived) cleanup(s *server) error {
	err := errors.Join(os.RemoveAll(s.file("keepalived.pid")), os.RemoveAll(s.file("vrrp.pid")),
		os.RemoveAll(filepath.Join(keepalivedPIDs, s.Namespace())))
	if rerr := os.Remove(keepalivedPIDs); rerr != nil && !isAny(rerr, fs.ErrNotExist, syscall.ENOTEMPTY) {
		err = errors.Join(err, rerr)
	}
	return err
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
}

func (k *keepalived) writeScale(s *server, c scaleCase) error {
	var text strings.Builder
	text.WriteString(k.global(s))
	for _, i := range c.all() {
		fmt.Fprintf(&text, `vrrp_instance %s {
	interface %s
	state BACKUP
	virtual_router_id %d
	priority %d
	advert_int %v
	virtual_ipaddress {
		%v
	}
}
`, i.name, i.link, i.vrid, s.priority, c.interval.Seconds(), i.addr)
	}
	return k.install(s, text.String(), false)
}
