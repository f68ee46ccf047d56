package netlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/vishvananda/netlink"
)

const (
	// namePrefix begins the name of every namespace and directory of every lab.
	namePrefix = "netlab"
	// dirParent is where a lab's directory is: nobody but root may write on the way to it, or a daemon would refuse the keys in it.
	dirParent = "/run"
	// bridgeName is the switch's bridge in its namespace.
	bridgeName = "br0"
	// maxHosts bounds the hosts of a lab: the last byte of a MAC address numbers them.
	maxHosts = 250
)

// ErrNotRoot says that the process may not make network namespaces.
var ErrNotRoot = errors.New("network namespaces need root: run it with sudo")

// labCount numbers the labs of this process.
var labCount atomic.Int64

// Lab is a switch and the hosts that are plugged into it. Hosts are added by one goroutine.
type Lab struct {
	name   string
	dir    string
	bridge *namespace
	hosts  []*Host
}

// New makes a lab without hosts, after it has removed what labs of dead processes left. The caller closes it.
func New(ctx context.Context) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	if _, err := Find("ip"); err != nil {
		return nil, err
	}
	if err := sweep(); err != nil {
		return nil, fmt.Errorf("remove what an earlier lab left: %w", err)
	}
	l, err := newLab()
	if err != nil {
		return nil, err
	}
	if err := l.plugBridge(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("make the switch: %w", err), l.Close())
	}
	return l, nil
}

func newLab() (*Lab, error) {
	start, err := startTime(os.Getpid())
	if err != nil {
		return nil, err
	}
	l := &Lab{name: fmt.Sprintf("%s-%d-%s-%d", namePrefix, os.Getpid(), start, labCount.Add(1))}
	l.dir = filepath.Join(dirParent, l.name)
	// nginx's workers and scripts of other users may look into it; nothing in it is secret.
	if err := os.Mkdir(l.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the lab's directory: %w", err)
	}
	return l, nil
}

func (l *Lab) plugBridge(ctx context.Context) error {
	var err error
	if l.bridge, err = newNamespace(ctx, l.name+"-switch"); err != nil {
		return err
	}
	return addBridge(l.bridge, bridgeName)
}

func addBridge(ns *namespace, name string) error {
	// No snooping: it is not what is tested here, and without a querier it would only delay the first adverts.
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}, MulticastSnooping: new(bool)}
	if err := ns.link.LinkAdd(bridge); err != nil {
		return fmt.Errorf("add bridge %s: %w", name, err)
	}
	if err := ns.link.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("set bridge %s up: %w", name, err)
	}
	return nil
}

// Dir is the lab's own directory. It goes with the lab.
func (l *Lab) Dir() string { return l.dir }

// Hosts lists the hosts in the order in which they were added.
func (l *Lab) Hosts() []*Host { return slices.Clone(l.hosts) }

// Close kills every process on the lab's hosts and removes hosts, switch and directory. A second call does nothing.
func (l *Lab) Close() error {
	var errs []error
	for _, h := range l.hosts {
		errs = append(errs, h.close())
	}
	if l.bridge != nil {
		errs = append(errs, l.bridge.close())
	}
	l.hosts, l.bridge = nil, nil
	return errors.Join(append(errs, os.RemoveAll(l.dir))...)
}

// sweep removes the namespaces, processes and directories of labs whose process is dead.
func sweep() error {
	var errs []error
	for _, dir := range []string{namespaceDir, netnsConf, dirParent} {
		paths, err := filepath.Glob(filepath.Join(dir, namePrefix+"-*"))
		if err != nil {
			return err
		}
		for _, path := range paths {
			if !stale(filepath.Base(path)) {
				continue
			}
			if dir == namespaceDir {
				errs = append(errs, sweepNamespace(filepath.Base(path)))
			} else {
				errs = append(errs, os.RemoveAll(path))
			}
		}
	}
	return errors.Join(errs...)
}

func sweepNamespace(name string) error {
	n, err := openNamespace(name)
	if err != nil {
		// A name without a namespace behind it, or one that another process is removing at this moment.
		return deleteNamespace(name)
	}
	return n.close()
}

// stale says whether a name is that of a lab whose process is dead.
func stale(name string) bool {
	fields := strings.SplitN(name, "-", 4)
	if len(fields) != 4 || fields[0] != namePrefix {
		return false
	}
	pid, err := strconv.Atoi(fields[1])
	if err != nil {
		return false
	}
	start, err := startTime(pid)
	return errors.Is(err, os.ErrNotExist) || err == nil && start != fields[2]
}

// startTime is when a process started, in clock ticks since boot: with the id it names one process for good.
func startTime(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", fmt.Errorf("start time of process %d: %w", pid, err)
	}
	// The name in parentheses may contain anything, spaces and parentheses too; what follows the last one is numbers.
	_, rest, _ := strings.Cut(string(data[strings.LastIndexByte(string(data), ')')+1:]), " ")
	fields := strings.Fields(rest)
	const index = 19 // field 22 of proc(5), counted from the third
	if len(fields) <= index {
		return "", fmt.Errorf("start time of process %d: %d fields in /proc/%d/stat", pid, len(fields), pid)
	}
	return fields[index], nil
}
