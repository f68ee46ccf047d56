package linux

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// eventBuffer is the longest batch of events that the kernel hands over in one read.
const eventBuffer = 64 << 10

// Watcher follows interfaces by name, whether they exist or not, and the virtual addresses on them.
type Watcher struct {
	events  *os.File
	kernel  *rtnetlink
	virtual func(netip.Addr) bool
	names   atomic.Pointer[[]string]
	renamed chan struct{} // names has changed

	// What follows belongs to Run.
	last    map[string]Link
	watched map[int]string     // names by index
	present map[place]struct{} // addresses on the watched interfaces, ours or not
}

// OpenWatcher subscribes to the events of the interfaces. virtual tells which addresses are virtual ones of this
// daemon; it is called from Run's goroutine.
func OpenWatcher(interfaces []string, virtual func(netip.Addr) bool) (*Watcher, error) {
	events, err := subscribe(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("subscribe to link and address events: %w", err)
	}
	kernel, err := openRtnetlink()
	if err != nil {
		return nil, abandon(err, events)
	}
	w := &Watcher{events: events, kernel: kernel, virtual: virtual, renamed: make(chan struct{}, 1)}
	w.SetInterfaces(interfaces)
	return w, nil
}

// subscribe opens a netlink socket that receives what is sent to the groups.
func subscribe(groups ...uint) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "netlink")
	to := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	for _, g := range groups {
		to.Groups |= 1 << (g - 1)
	}
	if err := unix.Bind(fd, to); err != nil {
		return nil, abandon(os.NewSyscallError("bind", err), file)
	}
	// An overrun is noticed and made good, so a small buffer is no error.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
	return file, nil
}

// SetInterfaces replaces the list of interfaces. It may be called from any goroutine. A name that is new is reported
// soon.
func (w *Watcher) SetInterfaces(names []string) {
	list := slices.Clone(names)
	w.names.Store(&list)
	select {
	case w.renamed <- struct{}{}:
	default:
	}
}

// Run reports the state of each interface, then each change of it, until ctx ends. It calls gone for each virtual
// address that an interface lost, whoever removed it, after the state that came with the loss; expired says that its
// lifetime ran out.
func (w *Watcher) Run(ctx context.Context, link func(Link), gone func(ifName string, ip netip.Addr, expired bool)) error {
	w.last, w.present = make(map[string]Link), make(map[place]struct{})
	group, ctx := errgroup.WithContext(ctx)
	batches := make(chan []syscall.NetlinkMessage)
	group.Go(func() error { return w.read(ctx, batches) })
	group.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-w.renamed:
				if _, err := w.refresh(link, false); err != nil {
					return err
				}
			case batch := <-batches:
				if err := w.handle(batch, link, gone); err != nil {
					return err
				}
			}
		}
	})
	return group.Wait()
}

// read passes the kernel's events on; nil stands for events that were lost.
func (w *Watcher) read(ctx context.Context, batches chan<- []syscall.NetlinkMessage) error {
	stop := endReads(ctx, w.events)
	defer stop()
	buffer := make([]byte, eventBuffer)
	for {
		n, err := w.events.Read(buffer)
		if ctx.Err() != nil {
			return nil
		}
		var batch []syscall.NetlinkMessage
		switch {
		case errors.Is(err, unix.ENOBUFS):
		case err != nil:
			return fmt.Errorf("read link and address events: %w", err)
		default:
			// Messages share the memory that they were parsed from.
			if batch, err = syscall.ParseNetlinkMessage(slices.Clone(buffer[:n])); err != nil {
				batch = nil
			}
		}
		select {
		case batches <- batch:
		case <-ctx.Done():
			return nil
		}
	}
}

// loss is a virtual address that is no longer there.
type loss struct {
	ifName  string
	ip      netip.Addr
	expired bool
}

// handle reports what a batch of events changed.
func (w *Watcher) handle(batch []syscall.NetlinkMessage, link func(Link), gone func(string, netip.Addr, bool)) error {
	var losses []loss
	stale := batch == nil
	for _, m := range batch {
		switch m.Header.Type {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			stale = stale || w.concerns(m.Data)
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			l, changed := w.address(m)
			losses = append(losses, l...)
			stale = stale || changed
		}
	}
	if stale {
		missed, err := w.refresh(link, batch == nil)
		if err != nil {
			return err
		}
		losses = append(losses, missed...)
	}
	for _, l := range losses {
		gone(l.ifName, l.ip, l.expired)
	}
	return nil
}

// concerns reports whether a link message is about a watched interface, by its name or by the index it had.
func (w *Watcher) concerns(data []byte) bool {
	if len(data) < unix.SizeofIfInfomsg {
		return false
	}
	if _, watched := w.watched[int(nl.DeserializeIfInfomsg(data).Index)]; watched {
		return true
	}
	for kind, value := range attributes(data[unix.SizeofIfInfomsg:]) {
		if kind == unix.IFLA_IFNAME && slices.Contains(*w.names.Load(), unix.ByteSliceToString(value)) {
			return true
		}
	}
	return false
}

// address notes an address that came or went. An event of a virtual one is a loss or nothing: each renewal of a lease
// makes one. One of the host's own means that the link may have changed.
func (w *Watcher) address(m syscall.NetlinkMessage) (losses []loss, changed bool) {
	a, ok := parseAddress(m.Data)
	name, watched := w.watched[a.index]
	if !ok || !watched {
		return nil, false
	}
	ip := a.prefix.Addr()
	tagged := a.protocol == protocolTag // spares the question
	if m.Header.Type == unix.RTM_NEWADDR {
		w.present[a.at()] = struct{}{}
		return nil, !tagged && !w.virtual(ip)
	}
	delete(w.present, a.at())
	if !w.virtual(ip) {
		return nil, !tagged
	}
	return []loss{{ifName: name, ip: ip, expired: a.valid == 0}}, false
}

// refresh asks the kernel for the state of all watched interfaces and reports those that differ from the last report.
// After an overrun it returns the virtual addresses whose loss nobody told.
func (w *Watcher) refresh(report func(Link), overrun bool) ([]loss, error) {
	own, err := w.kernel.addresses()
	if err != nil {
		return nil, err
	}
	names := *w.names.Load()
	before := w.last
	w.last, w.watched = make(map[string]Link, len(names)), make(map[int]string, len(names))
	for _, name := range names {
		l, err := w.kernel.link(name, own, w.virtual)
		if err != nil {
			return nil, err
		}
		w.last[name] = l
		if l.Exists {
			w.watched[l.Index] = name
		}
		if old, known := before[name]; !known || !old.equal(l) {
			report(l)
		}
	}
	now := make(map[place]struct{})
	for _, a := range own {
		if _, watched := w.watched[a.index]; watched {
			now[a.at()] = struct{}{}
		}
	}
	if !overrun {
		// What is not there any more stays noted until its event comes, or is found to have been lost.
		maps.Copy(w.present, now)
		return nil, nil
	}
	losses := w.missing(now)
	w.present = now
	return losses, nil
}

// missing lists the virtual addresses that were there and are not in now.
func (w *Watcher) missing(now map[place]struct{}) []loss {
	var losses []loss
	for p := range w.present {
		name, watched := w.watched[p.index]
		if _, there := now[p]; !there && watched && w.virtual(p.ip) {
			losses = append(losses, loss{ifName: name, ip: p.ip})
		}
	}
	slices.SortFunc(losses, func(a, b loss) int { return a.ip.Compare(b.ip) })
	return losses
}

// Close releases the sockets. Run must have ended.
func (w *Watcher) Close() error {
	w.kernel.close()
	return w.events.Close()
}
