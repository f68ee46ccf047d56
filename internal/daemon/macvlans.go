package daemon

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// macvlanOf is the device that has an address of an instance; the zero one where it has the interface's own MAC (vrid 0).
func macvlanOf(instance, ifName string, vrid uint8, f vrrp.Family) linux.Macvlan {
	if vrid == 0 {
		return linux.Macvlan{}
	}
	return linux.Macvlan{Parent: ifName, VRID: vrid, V6: f == vrrp.IPv6, Owner: instance}
}

// wantOf is what the kernel is asked for.
func wantOf(w node.SetAddresses) linux.Want {
	want := linux.Want{Owner: w.Instance, Interface: w.Interface, Lifetime: w.Lifetime}
	for _, a := range w.Addresses {
		want.Addresses = append(want.Addresses, linux.Address{
			IP: a.IP, Network: a.Network, Device: macvlanOf(w.Instance, w.Interface, w.VirtualMAC, vrrp.FamilyOf(a.IP)),
		})
	}
	return want
}

// deviceOf is the name of what an address of an instance is on.
func deviceOf(ifName string, vrid uint8, ip netip.Addr) string {
	if vrid == 0 {
		return ifName
	}
	return macvlanOf("", ifName, vrid, vrrp.FamilyOf(ip)).Name()
}

// macvlans lists the devices that are needed. A shadow makes none.
func (d *Daemon) macvlans() []linux.Macvlan {
	if d.opts.Shadow {
		return nil
	}
	return d.virtualRouters()
}

// virtualRouters lists the devices of virtual MAC addresses: of the instances that are configured, and of those that no longer are
// but still hand over.
func (d *Daemon) virtualRouters() []linux.Macvlan {
	var list []linux.Macvlan
	add := func(instance, ifName string, vrid uint8, ip netip.Addr) {
		m := macvlanOf(instance, ifName, vrid, vrrp.FamilyOf(ip))
		if !slices.ContainsFunc(list, func(o linux.Macvlan) bool { return o.Parent == m.Parent && o.VRID == m.VRID && o.V6 == m.V6 }) {
			list = append(list, m)
		}
	}
	for _, i := range d.cfg.Load().Instances {
		for _, a := range slices.Concat(i.Addresses, i.Unadvertised) {
			if i.VirtualMAC {
				add(i.Name, i.Interface, i.VRID, a.IP)
			}
		}
	}
	for _, i := range d.snapshot.Load().Instances {
		for _, ip := range i.Addresses {
			if i.VirtualMAC {
				add(i.Name, i.Interface, i.VRID, ip)
			}
		}
	}
	return list
}

// macvlansOn lists those of one interface.
func (d *Daemon) macvlansOn(ifName string) []linux.Macvlan {
	return slices.DeleteFunc(d.macvlans(), func(m linux.Macvlan) bool { return m.Parent != ifName })
}

// watched lists the interfaces that are wanted, and the devices on them: their loss must be noticed too.
func (d *Daemon) watched() []string {
	names := d.wanted()
	for _, m := range d.macvlans() {
		names = append(names, m.Name())
	}
	return names
}

// deviceKey tells the devices of one interface apart.
type deviceKey struct {
	vrid   uint8
	family vrrp.Family
}

// device is what a port has of one macvlan.
type device struct {
	linux.MacvlanState
	macvlan   linux.Macvlan
	wrong     string // why it cannot be had; one that has its sockets all the same is handed over by
	made      int    // see node.VirtualMAC
	conn      *linux.Conn
	announcer broadcaster
	closed    atomic.Bool // what waits for it is dropped
	stale     bool        // it is to be opened again; the keeper's own
}

func keyOf(m linux.Macvlan) deviceKey {
	if m.V6 {
		return deviceKey{m.VRID, vrrp.IPv6}
	}
	return deviceKey{m.VRID, vrrp.IPv4}
}

// sender is the socket that an advert leaves through; nil if there is none.
func (p *port) sender(a node.Send) *linux.Conn {
	if a.VirtualMAC == 0 {
		return p.conn(a.Family)
	}
	if d := p.devices[deviceKey{a.VirtualMAC, a.Family}]; d != nil {
		return d.conn
	}
	return nil
}

// voice is what announces an address; nil if there is none.
func (p *port) voice(vrid uint8, ip netip.Addr) broadcaster {
	if vrid == 0 {
		return p.announcer
	}
	if d := p.devices[deviceKey{vrid, vrrp.FamilyOf(ip)}]; d != nil {
		return d.announcer
	}
	return nil
}

// virtualMACs is what the node is told of the devices.
func (p *port) virtualMACs() []node.VirtualMAC {
	var list []node.VirtualMAC
	for key, d := range p.devices {
		list = append(list, node.VirtualMAC{VRID: key.vrid, Family: key.family, Source: d.Source6, Reason: d.wrong, Speaks: d.conn != nil, Made: d.made})
	}
	return list
}

// shut says whether what would announce an address is closed.
func (p *port) shut(vrid uint8, ip netip.Addr) bool {
	d := p.devices[deviceKey{vrid, vrrp.FamilyOf(ip)}]
	return p.closed.Load() || vrid != 0 && d != nil && d.closed.Load()
}

// openDevices makes the macvlans of an interface that a port does not have yet, and opens their sockets. What cannot be is told, and
// keeps nobody else from taking part.
func (k *portKeeper) openDevices(p *port, ifName string) {
	for _, m := range k.macvlansOn(ifName) {
		if p.devices[keyOf(m)] != nil {
			continue
		}
		d := &device{macvlan: m, made: k.made[m.Name()]}
		p.devices[keyOf(m)] = d
		if err := k.openDevice(d); err != nil {
			d.wrong = err.Error()
		}
		k.tellImpossible(d)
	}
}

// openDevice makes a device and opens its sockets. An error says that it cannot be had: where it is there all the same it still has its
// sockets then, since a master hands over by them before it lets go.
func (k *portKeeper) openDevice(d *device) error {
	state, cannot := k.kernel.Macvlans().Ensure(d.macvlan)
	if cannot != nil {
		remains := false
		if state, remains = k.kernel.Macvlans().Remains(d.macvlan); !remains {
			return cannot
		}
	}
	name := d.macvlan.Name()
	if was, known := k.indices[name]; known && (state.Made || was != state.Index) {
		k.made[name]++
	}
	k.indices[name] = state.Index
	d.MacvlanState, d.made = state, k.made[name]
	if err := d.open(); err != nil {
		d.release()
		d.conn, d.announcer = nil, nil
		return cmp.Or(cannot, err)
	}
	return cannot
}

// tellImpossible logs once why a device cannot be had.
func (k *portKeeper) tellImpossible(d *device) {
	name := d.macvlan.Name()
	if d.wrong == "" {
		delete(k.impossible, name)
		return
	}
	if k.impossible[name] != d.wrong {
		k.log.Error("make a virtual MAC address", "instance", d.macvlan.Owner, "interface", d.macvlan.Parent, "error", d.wrong)
	}
	k.impossible[name] = d.wrong
}

// open opens the sockets. What was opened before an error is the caller's to close.
func (d *device) open() (err error) {
	if d.conn, err = linux.Listen(d.macvlan.Name(), d.macvlan.V6); err != nil {
		return err
	}
	announcer, err := linux.OpenAnnouncer(d.macvlan.Name())
	if err != nil {
		return err
	}
	d.announcer = announcer
	return nil
}

// close closes the sockets; the macvlan stays. Who has the port before still sees them.
func (d *device) close() {
	d.closed.Store(true)
	d.release()
}

func (d *device) release() {
	if d.conn != nil {
		_ = d.conn.Close()
	}
	if d.announcer != nil {
		_ = d.announcer.Close()
	}
}

// deviceChanged looks at a device of which the kernel says that it is another than before: what something else removed or
// changed is made again.
func (k *portKeeper) deviceChanged(ctx context.Context, l linux.Link) {
	d := k.deviceNamed(l.Name)
	if d == nil || d.wrong != "" || l.Index == d.Index && l.Up && l.Source6 == d.Source6 && l.MAC == d.macvlan.MAC().String() {
		return
	}
	state, err := k.kernel.Macvlans().Ensure(d.macvlan)
	if err == nil && state == (linux.MacvlanState{Index: d.Index, Source6: d.Source6}) {
		return // it waits for its interface's carrier, or has its address again
	}
	if k.known[d.macvlan.Parent].Exists {
		k.log.Warn("something else removed or changed the device of a virtual MAC address; it is made again", "instance", d.macvlan.Owner, "device", l.Name)
	}
	if err == nil && state.Index == d.Index {
		k.indices[l.Name] = 0 // the same one, but what it said while it was off is lost
	}
	d.stale = true
	k.follow(ctx, k.known[d.macvlan.Parent])
}

// deviceNamed finds a device of an open port.
func (k *portKeeper) deviceNamed(name string) *device {
	for _, p := range k.open {
		for _, d := range p.devices {
			if d.macvlan.Name() == name {
				return d
			}
		}
	}
	return nil
}

// isDevice says whether an interface is one of our devices.
func (d *Daemon) isDevice(name string) bool {
	return slices.ContainsFunc(d.macvlans(), func(m linux.Macvlan) bool { return m.Name() == name })
}

// settingChanged has the devices looked at soon: at once, or settingsGap after the last look.
func (k *portKeeper) settingChanged() {
	select {
	case k.settings <- struct{}{}:
	default:
	}
}

// retryDevices makes what could not be made before, and looks whether the devices and their interfaces still have the settings that
// they need: the kernel tells nobody of most sysctls.
func (k *portKeeper) retryDevices(ctx context.Context) {
	if k.kernel == nil {
		return // a shadow makes none
	}
	defer func() { k.looked = time.Now() }()
	changed, err := k.kernel.Macvlans().Guard()
	if err != nil {
		k.log.Error("keep the settings that a virtual MAC address needs", "error", err)
	}
	for _, name := range changed {
		k.log.Warn("something else changed arp_ignore or arp_announce; set again", "interface", name)
	}
	for ifName, p := range k.open {
		changed := false
		for _, d := range p.devices {
			if d.wrong == "" && d.macvlan.Settled() {
				continue
			}
			state, err := k.kernel.Macvlans().Ensure(d.macvlan)
			wrong := ""
			if err != nil {
				wrong = err.Error()
			}
			if state.Made && state.Index == d.Index {
				k.indices[d.macvlan.Name()] = 0 // what it said while it was off is lost
			}
			d.stale = state.Made || wrong != d.wrong
			changed = changed || d.stale
		}
		if changed {
			k.follow(ctx, k.known[ifName])
		}
	}
}

// pruneDevices removes the devices that no instance needs any more.
func (k *portKeeper) pruneDevices(ctx context.Context) {
	if k.kernel == nil {
		return
	}
	needed := k.macvlans()
	unneeded := func(name string) bool {
		return !slices.ContainsFunc(needed, func(m linux.Macvlan) bool { return m.Name() == name })
	}
	for ifName, p := range k.open {
		for _, d := range p.devices {
			if unneeded(d.macvlan.Name()) {
				k.follow(ctx, k.known[ifName])
				break
			}
		}
	}
	removed, err := k.kernel.Macvlans().Keep(func(name string) bool { return !unneeded(name) })
	k.tellStaying(err)
	if len(removed) > 0 {
		for _, name := range removed {
			delete(k.indices, name)
			delete(k.impossible, name)
		}
		k.watcher.SetInterfaces(k.watched())
	}
}

// tellStaying logs once why what virtual MAC addresses need on this host may stay behind: a full disk lasts.
func (k *portKeeper) tellStaying(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != k.staying && text != "" {
		k.log.Error("tidy up after virtual MAC addresses", "error", err)
	}
	k.staying = text
}
