package linux

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrForeign says that an address is there already and was not set by us: it is left alone.
var ErrForeign = errors.New("not ours")

// Address is one virtual address.
type Address struct {
	IP netip.Addr
	// Network, if valid, wants a connected route to it on the interface wherever the host has none. The route comes
	// and goes with the address.
	Network netip.Prefix
	// Device, unless it is zero, is what the address is set on instead of the Want's interface, and is made if it is missing.
	// The route goes on the interface all the same: what the host sends leaves there.
	Device Macvlan
}

// on is the name of the interface that an address is set on.
func (w *Want) on(x Address) string {
	if x.Device == (Macvlan{}) {
		return w.Interface
	}
	return x.Device.Name()
}

// Want is all that one owner wants to have on one interface.
type Want struct {
	Owner     string // the instance
	Interface string
	Addresses []Address
	// Lifetime is after how long the kernel removes the addresses by itself, unless they are set again; it counts in
	// whole seconds. 0 is never.
	Lifetime time.Duration
}

// AddressError says that the address IP could not be set, removed or announced, and why.
type AddressError struct {
	Owner string // whose Want it was; empty for an announcement
	IP    netip.Addr
	Err   error
}

// Error names the address too.
func (e AddressError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e AddressError) Unwrap() error { return e.Err }

// routeGap is how often a renewal looks whether the routes that go with its addresses are still there, and still
// needed. Nothing is told of a route's loss, and a list of all routes is no small thing on a router.
const routeGap = 10 * time.Second

// Addresses sets the virtual addresses. One goroutine uses it.
//
// An address is ours if it is alone in its network (/32 or /128) and either listed in held.json or tagged by the
// kernel. Ours are never primary to, promoted over, or chosen as a source before an address of the host.
type Addresses struct {
	file     *heldFile
	kernel   *rtnetlink
	requests *requests
	held     *ledger
	notice   error
	routed   time.Time // when the routes were looked at last
	metric   int       // of our routes
	macvlans *Macvlans
	speaking map[int]bool // macvlans that are not mute, by index
	holders  holders
}

// OpenAddresses reads which addresses an earlier daemon left, from held.json in runtimeDir, which it makes if it is
// missing. It changes nothing in the kernel.
func OpenAddresses(runtimeDir string) (*Addresses, error) {
	if err := os.MkdirAll(runtimeDir, 0o755); err != nil {
		return nil, fmt.Errorf("make runtime directory: %w", err)
	}
	file := newHeldFile(runtimeDir)
	held, notice, err := file.load()
	if err != nil {
		return nil, fmt.Errorf("load held addresses: %w", err)
	}
	kernel, err := openRtnetlink()
	if err != nil {
		return nil, err
	}
	requests, err := openRequests()
	if err != nil {
		kernel.close()
		return nil, err
	}
	macvlans, err := openMacvlans(runtimeDir)
	if err != nil {
		kernel.close()
		requests.close()
		return nil, err
	}
	a := &Addresses{
		file: file, kernel: kernel, requests: requests, held: newLedger(held), notice: notice, metric: metricOf(runtimeDir),
		macvlans: macvlans, speaking: map[int]bool{},
	}
	return a, nil
}

// Close releases the sockets; the addresses stay, and the macvlans that have one.
func (a *Addresses) Close() error {
	_, err := a.macvlans.Keep(a.holds)
	a.macvlans.close()
	a.kernel.close()
	a.requests.close()
	return err
}

// Macvlans are the devices that the addresses are set on.
func (a *Addresses) Macvlans() *Macvlans { return a.macvlans }

// holds says whether an interface has an address of ours.
func (a *Addresses) holds(ifName string) bool {
	return slices.ContainsFunc(a.held.all(), func(r *record) bool { return r.Interface == ifName })
}

// Notice says what is wrong with held.json, damaged when it was opened or not writable at the last Set; nil if nothing
// is. Addresses are set all the same: a full disk is no reason to leave a service without its address.
func (a *Addresses) Notice() error { return a.notice }

// Present reports whether the interface has the address, whoever set it.
func (a *Addresses) Present(ifName string, ip netip.Addr) (bool, error) {
	missing, err := a.Missing(ifName, []netip.Addr{ip})
	return len(missing) == 0, err
}

// Missing lists those of the addresses that the interface does not have, whoever set them. The next Set of one looks
// whether its place has been taken meanwhile, also if it would have been a mere renewal.
func (a *Addresses) Missing(ifName string, ips []netip.Addr) ([]netip.Addr, error) {
	index, err := a.index(ifName)
	if err != nil {
		return nil, err
	}
	list, err := a.kernel.addresses()
	if err != nil {
		return nil, err
	}
	there := make(map[netip.Addr]bool)
	for _, x := range list {
		if x.index == index {
			there[x.prefix.Addr()] = true
		}
	}
	missing := slices.DeleteFunc(slices.Clone(ips), func(ip netip.Addr) bool { return there[ip] })
	for _, ip := range missing {
		for _, r := range a.held.places[place{index, ip}] {
			r.sure = false
		}
	}
	return missing, nil
}

// Set makes the addresses of each want's owner exactly those of the want: it adds and renews first, then removes the
// owners' others, also those on another interface. It is the same call for taking, renewing, repairing and releasing.
// An address that another owner holds too stays. What could not be done is returned, the rest is done.
//
// There must be one want at most for each owner. Many at once cost little more than one: the kernel's addresses are
// listed once, and not at all for wants that only renew or release.
func (a *Addresses) Set(wants ...Want) []AddressError {
	var changes, renewals []Want
	index := a.requests.indices()
	for _, w := range wants {
		if a.renews(w, index) {
			renewals = append(renewals, w)
		} else {
			changes = append(changes, w)
		}
	}
	failed := a.change(changes)
	lapsed := a.renew(renewals)
	failed = append(failed, a.change(lapsed)...)
	if len(lapsed) < len(renewals) && len(a.held.networks) > 0 && time.Since(a.routed) >= routeGap {
		failed = append(failed, a.setRoutes(renewals)...)
	}
	a.save()
	return failed
}

// index finds the interface.
func (a *Addresses) index(ifName string) (int, error) {
	link, err := a.kernel.handle.LinkByName(ifName)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return 0, fmt.Errorf("interface %q does not exist: %w", ifName, unix.ENODEV)
	}
	if err != nil {
		return 0, fmt.Errorf("look up interface %q: %w", ifName, err)
	}
	return link.Attrs().Index, nil
}

// ours reports whether we may change or remove the address.
func (a *Addresses) ours(x address) bool {
	return x.host() && (x.protocol == protocolTag || len(a.held.places[x.at()]) > 0)
}

// present lists the host's addresses by place. IPv4 can have one address twice in a place, in two networks: the one that
// is not ours counts.
func (a *Addresses) present() (map[place]address, error) {
	list, err := a.kernel.addresses()
	if err != nil {
		return nil, err
	}
	present := make(map[place]address, len(list))
	for _, x := range list {
		if other, twice := present[x.at()]; !twice || a.ours(other) {
			present[x.at()] = x
		}
	}
	return present, nil
}

// save writes held.json and keeps what went wrong for Notice.
func (a *Addresses) save() {
	changed := a.held.changed
	err := a.file.save(a.held)
	switch {
	case err != nil:
		a.notice = fmt.Errorf("note the held addresses: %w", err)
	case changed && len(a.held.places) > 0:
		a.notice = nil
	}
}
