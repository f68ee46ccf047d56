package machines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// bootBound is how long a machine may take until all its services have started. Without load it takes a second.
	bootBound = 90 * time.Second
	// haltBound is how long a machine may take to stop its services and end.
	haltBound = 60 * time.Second
	// rebooted is how a container ends that wants to be started again.
	rebooted = 133
)

// Machine is a host that runs Debian under systemd.
type Machine struct {
	*netlab.Host

	base    Base
	dir     string
	overlay bool // the root is a layer above the base, else a copy of it
	groups  groups
	proc    *netlab.Proc // of the running container; nil while it is off
	pid1    int
	console string // what earlier boots printed
	bare    bool   // it has no interface: it is off, and was on before
}

// New makes a machine of a host, with a file system of its own. It is off.
func New(ctx context.Context, h *netlab.Host, base Base) (*Machine, error) {
	m := &Machine{Host: h, base: base, dir: filepath.Join(h.Dir(), "machine")}
	for _, name := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(m.dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	m.overlay = command(ctx, m.dir, "unshare", "--mount", "--propagation", "private", "mount", "-t", "overlay", "overlay", "-o", m.layers(), "root") == nil
	if !m.overlay {
		if err := command(ctx, "", "cp", "-a", "--reflink=auto", base.Tree()+"/.", filepath.Join(m.dir, "root")); err != nil {
			return nil, err
		}
	}
	return m, m.personalize()
}

func (m *Machine) layers() string {
	return fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%[2]s/work", m.base.Tree(), m.dir)
}

// personalize writes what sets one machine apart: its name, its id and its addresses.
func (m *Machine) personalize() error {
	var network strings.Builder
	fmt.Fprintf(&network, "[Match]\nName=%s\n\n[Network]\nLinkLocalAddressing=ipv6\nIPv6AcceptRA=no\n", netlab.Interface)
	for _, a := range m.Addresses() {
		fmt.Fprintf(&network, "\n[Address]\nAddress=%v\nDuplicateAddressDetection=none\n", a)
	}
	id := fmt.Sprintf("%020d%x\n", 1, []byte(m.MAC()))
	for path, text := range map[string]string{
		"etc/hostname":                         m.Name() + "\n",
		"etc/hosts":                            "127.0.0.1 localhost\n127.0.1.1 " + m.Name() + "\n::1 localhost\n",
		"etc/machine-id":                       id,
		"etc/systemd/network/10-eth0.network":  network.String(),
		"etc/systemd/system.conf.d/tests.conf": "[Manager]\nDefaultTimeoutStopSec=20s\n",
	} {
		path = m.offline(path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// offline is where a file of the machine is written while it is off.
func (m *Machine) offline(path string) string {
	if m.overlay {
		return filepath.Join(m.dir, "upper", path)
	}
	return filepath.Join(m.dir, "root", path)
}

// script enters the control groups, makes the root and becomes the container. What it mounts goes with it. Its first three
// arguments are the layers, empty for a copy, the root and the number of control groups; these follow, then the container.
const script = `set -e
if [ -n "$1" ]; then mount -t overlay overlay -o "$1" "$2"; fi
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn
groups=$3
shift 3
while [ "$groups" -gt 0 ]; do
	echo $$ >"$1/cgroup.procs"
	groups=$((groups - 1))
	shift
done
exec "$@"
`

// Boot switches the machine on and waits until its services have started. A service that failed is no error.
func (m *Machine) Boot(ctx context.Context) error {
	if m.proc != nil {
		return fmt.Errorf("boot %s: it runs", m.Name())
	}
	if m.bare {
		if err := m.RestoreInterface(ctx); err != nil {
			return err
		}
		m.bare = false
	}
	if err := m.start(); err != nil {
		return fmt.Errorf("boot %s: %w", m.Name(), err)
	}
	ended := false
	err := netlab.Eventually(ctx, bootBound, func() (bool, string) {
		select {
		case <-m.proc.Done():
			ended = true
			return true, ""
		default:
		}
		if m.pid1 == 0 {
			m.pid1 = firstProcess(m.proc.PID())
		}
		if m.pid1 == 0 {
			return false, "no process is the first one of a container yet"
		}
		out, _ := m.Exec(ctx, "systemctl", "is-system-running") // its exit status says the same
		state := strings.TrimSpace(out)
		return state == "running" || state == "degraded", fmt.Sprintf("systemd is %q", state)
	})
	if ended {
		err = errors.New("the container ended")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("boot %s: %w\n%s", m.Name(), err, m.proc.Output()), m.Kill())
	}
	return nil
}

func (m *Machine) start() error {
	groups, err := newGroups(filepath.Base(m.Namespace()))
	if err != nil {
		return err
	}
	m.groups = groups
	layers := ""
	if m.overlay {
		layers = m.layers()
	}
	root := filepath.Join(m.dir, "root")
	// A command on a host has a /sys of its own, without control groups.
	argv := []string{"nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", os.Getpid()), "unshare", "--mount", "--propagation", "private",
		"sh", "-c", script, "boot", layers, root, fmt.Sprint(len(groups))}
	argv = append(argv, groups...)
	argv = append(argv, "env", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network")
	if !unified() {
		argv = append(argv, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=0")
	}
	argv = append(argv, "systemd-nspawn", "--directory="+root, "--machine="+m.Name(), "--register=no", "--keep-unit", "--settings=no",
		"--network-namespace-path=/run/netns/"+m.Namespace(), "--capability=CAP_NET_ADMIN", "--resolv-conf=off", "--timezone=off",
		"--link-journal=no", "--console=pipe", "--boot")
	m.proc, err = m.Start(argv...)
	if err != nil {
		m.proc = nil
		return errors.Join(err, groups.remove())
	}
	return nil
}

// Running says whether the machine is on.
func (m *Machine) Running() bool { return m.proc != nil }

// Exec runs a command on the machine as root, to its end, and returns what it printed. When ctx ends it is killed.
func (m *Machine) Exec(ctx context.Context, argv ...string) (string, error) {
	if m.pid1 == 0 {
		return "", fmt.Errorf("run %q: %s is off", argv, m.Name())
	}
	enter := []string{"nsenter", "--target", fmt.Sprint(m.pid1), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd",
		"env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	return m.Host.Exec(ctx, append(enter, argv...)...)
}

// Path is where a file of the running machine is seen from outside.
func (m *Machine) Path(path string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", m.pid1), path)
}

// Write writes a file on the running machine, and makes its directory.
func (m *Machine) Write(path, text string, mode os.FileMode) error {
	to := m.Path(path)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(to, []byte(text), mode), os.Chmod(to, mode))
}

// Copy copies a file of this machine to the running one.
func (m *Machine) Copy(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return m.Write(to, string(text), 0o644)
}

// PowerOff stops the machine's services, and switches it off.
func (m *Machine) PowerOff(ctx context.Context) error {
	if _, err := m.Exec(ctx, "systemctl", "poweroff"); err != nil {
		return err
	}
	return m.halted(ctx, 0)
}

// Reboot stops the machine's services and starts it again.
func (m *Machine) Reboot(ctx context.Context) error {
	if _, err := m.Exec(ctx, "systemctl", "reboot"); err != nil {
		return err
	}
	if err := m.halted(ctx, rebooted); err != nil {
		return err
	}
	return m.Boot(ctx)
}

// halted waits until the machine has ended, in the way that is wanted.
func (m *Machine) halted(ctx context.Context, status int) error {
	err := netlab.Eventually(ctx, haltBound, func() (bool, string) {
		select {
		case <-m.proc.Done():
			return true, ""
		default:
			return false, m.Name() + " has not halted"
		}
	})
	if err != nil {
		return errors.Join(err, m.Kill())
	}
	ended := m.proc.Wait(ctx)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](ended); ok {
		got = exit.ExitCode()
	} else if ended != nil {
		return errors.Join(ended, m.off())
	}
	if err := m.off(); err != nil || got == status {
		return err
	}
	return fmt.Errorf("the container of %s ended with status %d, want %d: %w", m.Name(), got, status, ended)
}

// Kill takes the machine its power: the link goes first, so that nobody hears of its end.
func (m *Machine) Kill() error {
	if m.proc == nil {
		return nil
	}
	err := m.CarrierDown()
	if m.pid1 != 0 {
		// The first process of a container takes all others with it.
		if kerr := syscall.Kill(m.pid1, syscall.SIGKILL); kerr != nil && !errors.Is(kerr, syscall.ESRCH) {
			err = errors.Join(err, kerr)
		}
	} else {
		err = errors.Join(err, m.proc.Kill())
	}
	<-m.proc.Done()
	return errors.Join(err, m.off())
}

// off takes away what the machine's hardware and kernel would have forgotten: its interface, with all addresses.
func (m *Machine) off() error {
	m.console += m.proc.Output()
	m.proc, m.pid1 = nil, 0
	if err := errors.Join(m.groups.remove(), m.RemoveInterface()); err != nil {
		return fmt.Errorf("switch %s off: %w", m.Name(), err)
	}
	m.bare = true
	return nil
}

// Console is what the machine printed before anything was logged.
func (m *Machine) Console() string {
	if m.proc == nil {
		return m.console
	}
	return m.console + m.proc.Output()
}

// Journal is the log of the machine, since it was made.
func (m *Machine) Journal(ctx context.Context) (string, error) {
	if m.proc == nil {
		return m.Host.Exec(ctx, "journalctl", "--no-pager", "--output=short-precise", "--directory="+m.offline("var/log/journal"))
	}
	return m.Exec(ctx, "journalctl", "--no-pager", "--output=short-precise")
}
