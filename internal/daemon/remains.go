package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// Files in the runtime directory, for whoever comes after a daemon that died.
const (
	instancesFile = "instances.json" // what the daemon runs with: the configuration may be another by then
	namesFile     = "names.json"     // where the peers' names led; there is none where nothing is known of any
	unclaimedFile = "unclaimed.json" // which addresses cleanup found nobody for
)

// unclaimedFor is how long the addresses stay that cleanup found nobody for: long enough for the restarted daemon.
const unclaimedFor = 10 * time.Second

// unclaimed is the word of cleanup to the daemon that is started next.
type unclaimed struct {
	Until     time.Time `json:"until"`
	Instances []string  `json:"instances"`
}

// HasRun says whether a daemon has run with a runtime directory and may have left something behind.
func HasRun(runtimeDir string) bool {
	return slices.ContainsFunc([]string{instancesFile, linux.HeldName, linux.MacvlansName}, func(name string) bool {
		_, err := os.Stat(filepath.Join(runtimeDir, name))
		return !errors.Is(err, os.ErrNotExist)
	})
}

// saveInstances keeps what cleanup needs to speak for this daemon.
func (d *Daemon) saveInstances(c node.Config) {
	if c.Shadow {
		return // nothing is left behind
	}
	if err := writeJSON(filepath.Join(d.opts.RuntimeDir, instancesFile), withPasswords(c)); err != nil {
		d.log.Warn("cleanup after a crash would not know the instances", "error", err)
	}
}

// loadInstances reads it; a file that is not there is no instances. What another version wrote, or another hand, is not trusted:
// the node takes its configuration for validated.
func loadInstances(runtimeDir string) (node.Config, error) {
	path := filepath.Join(runtimeDir, instancesFile)
	var k savedInstances
	if err := readJSON(path, &k); err != nil {
		return node.Config{}, err
	}
	c := k.config()
	for _, i := range c.Instances {
		if err := usable(&i); err != nil {
			return node.Config{}, fmt.Errorf("read %s: instance %q: %w", path, i.Name, err)
		}
	}
	return c, nil
}

// saveNames keeps where the peers' names lead.
func saveNames(runtimeDir string, led map[string]node.SealedName) error {
	path := filepath.Join(runtimeDir, namesFile)
	if len(led) > 0 {
		return writeJSON(path, led)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// loadNames reads it. What is no address is left out, and so is a name of which that leaves nothing.
func loadNames(runtimeDir string) (map[string]node.SealedName, error) {
	var led map[string]node.SealedName
	if err := readJSON(filepath.Join(runtimeDir, namesFile), &led); err != nil {
		return nil, err
	}
	for name, s := range led {
		s.IPs = plain(slices.DeleteFunc(s.IPs, func(ip netip.Addr) bool { return !ip.IsValid() }))
		switch {
		case len(s.IPs) > 0:
			led[name] = node.SealedName{IPs: s.IPs}
		case s.Err != "":
			led[name] = node.SealedName{Err: s.Err}
		default:
			delete(led, name)
		}
	}
	return led, nil
}

// usable says what is impossible about an instance.
func usable(i *node.Instance) error {
	switch {
	case i.Name == "" || i.Interface == "":
		return errors.New("it has no name or no interface")
	case i.VRID == 0 || i.Priority < 2 || i.DeadAdverts < 1:
		return fmt.Errorf("VRID %d, priority %d and dead_adverts %d cannot be", i.VRID, i.Priority, i.DeadAdverts)
	case i.Version != vrrp.V2 && i.Version != vrrp.V3:
		return fmt.Errorf("VRRP version %d does not exist", i.Version)
	case i.Auth != nil && (i.Auth.Mode > vrrp.ReceiveOnly || i.Auth.Window < time.Second):
		return fmt.Errorf("authentication mode %d with a window of %s cannot be", i.Auth.Mode, i.Auth.Window)
	case len(i.Addresses) == 0 || len(i.Addresses) > vrrp.MaxAddresses:
		return fmt.Errorf("it has %d addresses", len(i.Addresses))
	}
	for _, a := range slices.Concat(i.Addresses, i.Unadvertised) {
		if !a.IP.IsValid() || a.IP.Is4In6() || a.IP.Zone() != "" {
			return fmt.Errorf("address %s cannot be", a.IP)
		}
	}
	for _, p := range i.Peers {
		if p.Name == "" && !p.IP.IsValid() || p.IP.Is4In6() || p.IP.Zone() != "" {
			return fmt.Errorf("peer %q at %s cannot be", p.Name, p.IP)
		}
	}
	for _, ip := range i.Sources {
		if !ip.IsValid() || ip.Is4In6() || ip.Zone() != "" {
			return fmt.Errorf("source %s cannot be", ip)
		}
	}
	if i.Version == vrrp.V2 && slices.Contains(i.Families(), vrrp.IPv6) {
		return errors.New("VRRPv2 carries no IPv6 addresses")
	}
	return vrrp.CheckInterval(i.Version, i.Interval)
}

// takeUnclaimed reads whose addresses are to be adopted, once: the word is good for one daemon, whatever it says. One that is good
// for longer than any is of another clock, and says nothing about now.
func takeUnclaimed(runtimeDir string, now time.Time) ([]string, error) {
	path := filepath.Join(runtimeDir, unclaimedFile)
	var u unclaimed
	unread := readJSON(path, &u)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("adopt addresses: %w", err)
	}
	if unread != nil {
		return nil, unread
	}
	if !now.Before(u.Until) || u.Until.Sub(now) > unclaimedFor {
		return nil, nil
	}
	return u.Instances, nil
}

// adoptOrSweep keeps the addresses that the new daemon adopts, and removes all others of a dead one.
func (d *Daemon) adoptOrSweep(cfg *config.Config) error {
	kernel := d.kernel
	if kernel == nil {
		return nil
	}
	if notice := kernel.Notice(); notice != nil {
		d.log.Warn("list of held addresses", "error", notice)
	}
	if d.opts.Inherited != nil {
		return nil // nobody died: all that is there is wanted
	}
	left, err := takeUnclaimed(d.opts.RuntimeDir, time.Now())
	if err != nil {
		d.log.Warn("addresses that an earlier daemon left are not adopted", "error", err)
	}
	swept, err := kernel.Sweep(func(h linux.Held) bool {
		if d.strange(h) {
			return true
		}
		known := slices.ContainsFunc(cfg.Instances, func(i node.Instance) bool { return i.Name == h.Owner && i.Interface == h.Base() })
		if !known || !slices.Contains(left, h.Owner) {
			return false
		}
		if !slices.Contains(d.adopt, h.Owner) {
			d.adopt = append(d.adopt, h.Owner)
		}
		return true
	}, d.opts.All)
	for _, h := range swept {
		d.log.Warn("removed an address that an earlier daemon left behind", "address", h.IP, "interface", h.Interface)
	}
	if err != nil {
		return fmt.Errorf("remove the addresses that an earlier daemon left behind: %w", err)
	}
	return nil
}
