package linux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	// eventBuffer is the longest batch of events that the kernel hands over in one read.
	eventBuffer = 64 << 10
	// lookAgain is when the kernel is asked again after it could not be, or never gave the addresses away in one piece; while
	// that lasts the wait is twice as long each time, up to lookSeldom.
	lookAgain  = 50 * time.Millisecond
	lookSeldom = time.Second
)

// Watcher follows interfaces by name, whether they exist or not, and the virtual addresses on them.
type Watcher struct {
	events  *os.File
	kernel  *rtnetlink
	virtual func(netip.Addr) bool
	names   atomic.Pointer[[]string]
	renamed chan struct{} // names has changed

	// Trouble, if it is set before Run, hears why the kernel could not be asked, and nil once it can be again. What was known
	// before counts meanwhile.
	Trouble func(error)
	// Came, if it is set before Run, hears of each virtual address that is new on an interface and lacks our tag: something else may
	// have set it. It is called from Run's goroutine.
	Came func(ifName string, ip netip.Addr)
	// Settings, if it is set before Run, hears that rp_filter was changed, on a watched interface or for all. Of arp_filter and arp_ignore
	// the kernel tells nobody. It is called from Run's goroutine.
	Settings func()

	// What follows belongs to Run.
	last    map[string]Link
	watched map[int]string     // names by index
	present map[place]struct{} // addresses on the watched interfaces, ours or not
	own     []address          // the host's addresses at the last look
	overrun bool               // events were lost since
	// The macvlans of the host that swallow a router's frames, by index, as the events tell; listed: they were asked for.
	swallowers map[int]swallower
	listed     bool

	trouble string        // what Trouble heard last
	again   *time.Timer   // when to look again
	pause   time.Duration // how long that was last
}

// OpenWatcher subscribes to the events of the interfaces. virtual tells which addresses are virtual ones of this
// daemon; it is called from Run's goroutine.
func OpenWatcher(interfaces []string, virtual func(netip.Addr) bool) (*Watcher, error) {
	events, err := subscribe(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_NETCONF)
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
	w.again = time.NewTimer(lookAgain)
	w.again.Stop()
	defer w.again.Stop()
	group, ctx := errgroup.WithContext(ctx)
	batches := make(chan []syscall.NetlinkMessage)
	group.Go(func() error { return w.read(ctx, batches) })
	group.Go(func() error {
		for {
			var losses []loss
			select {
			case <-ctx.Done():
				return nil
			case <-w.renamed:
				losses = w.refresh(link)
			case <-w.again.C:
				losses = w.refresh(link)
			case batch := <-batches:
				losses = w.handle(batch, link)
			}
			for _, l := range losses {
				gone(l.ifName, l.ip, l.expired)
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

// handle reports what a batch of events changed, and returns the virtual addresses that are lost.
func (w *Watcher) handle(batch []syscall.NetlinkMessage, link func(Link)) []loss {
	var losses []loss
	w.overrun = w.overrun || batch == nil
	stale := w.overrun
	for _, m := range batch {
		switch m.Header.Type {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			stale = w.swallows(m) || stale || w.concerns(m.Data)
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			l, changed := w.address(m)
			losses = append(losses, l...)
			stale = stale || changed
		case unix.RTM_NEWNETCONF:
			if w.Settings != nil && w.tellsOfRPFilter(m.Data) {
				w.Settings()
			}
		}
	}
	if stale {
		losses = append(losses, w.refresh(link)...)
	}
	return losses
}

// Attributes of a message on IPv4's settings (NETCONFA_*), which neither x/sys nor the library names, and its header with padding.
const (
	netconfIndex    = 1
	netconfRPFilter = 3
	sizeofNetconf   = 4
	everyInterface  = -1 // NETCONFA_IFINDEX_ALL
)

// tellsOfRPFilter reports whether a message on settings is about rp_filter, for all interfaces or on a watched one. Each new interface is told
// with all that it has, before its link is: a device that is made and cannot be finished must not have itself made again.
func (w *Watcher) tellsOfRPFilter(data []byte) bool {
	index, filter := 0, false
	for kind, value := range attributes(data[min(sizeofNetconf, len(data)):]) {
		switch {
		case kind == netconfIndex && len(value) >= 4:
			index = int(int32(binary.NativeEndian.Uint32(value)))
		case kind == netconfRPFilter:
			filter = true
		}
	}
	_, watched := w.watched[index]
	return filter && (watched || index == everyInterface)
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
		_, known := w.present[a.at()]
		w.present[a.at()] = struct{}{}
		virtual := tagged || w.virtual(ip)
		if !tagged && !known && virtual {
			w.came(name, ip)
		}
		return nil, !virtual
	}
	delete(w.present, a.at())
	if !w.virtual(ip) {
		return nil, !tagged
	}
	return []loss{{ifName: name, ip: ip, expired: a.valid == 0}}, false
}

func (w *Watcher) came(ifName string, ip netip.Addr) {
	if w.Came != nil {
		w.Came(ifName, ip)
	}
}

// refresh asks the kernel for the state of all watched interfaces and reports those that differ from the last report.
// It returns the virtual addresses of those that others have taken the place of and, after an overrun, those whose loss nobody told.
// Where the kernel cannot be asked, what was known goes on to count, and it is asked again soon.
func (w *Watcher) refresh(report func(Link)) []loss {
	links, whole, err := w.look()
	w.plan(whole, err)
	if err != nil {
		return nil
	}
	before, names := w.last, w.watched
	w.last, w.watched = make(map[string]Link, len(links)), make(map[int]string, len(links))
	for _, l := range links {
		w.last[l.Name] = l
		if l.Exists {
			w.watched[l.Index] = l.Name
		}
		if old, known := before[l.Name]; !known || !old.equal(l) {
			report(l)
		}
	}
	losses := w.replaced(names)
	now := make(map[place]struct{})
	for _, a := range w.own {
		if _, watched := w.watched[a.index]; watched {
			now[a.at()] = struct{}{}
		}
	}
	for _, a := range w.own {
		_, known := w.present[a.at()]
		name, watched := w.watched[a.index]
		_, before := names[a.index] // else what it has already is no news
		if !known && watched && (before || w.overrun) && a.protocol != protocolTag && w.virtual(a.prefix.Addr()) {
			w.came(name, a.prefix.Addr()) // its event is under way, or lost
		}
	}
	if !w.overrun {
		// What is not there any more stays noted until its event comes, or is found to have been lost.
		maps.Copy(w.present, now)
		return losses
	}
	w.overrun = false
	losses = append(losses, w.missing(now)...)
	w.present = now
	return losses
}

// replaced lists the virtual addresses on what had the name of a watched interface that another one has now; names are those of
// before. What is told of them by index alone is not understood any more, and one that was only renamed has them still.
func (w *Watcher) replaced(names map[int]string) []loss {
	var losses []loss
	for p := range w.present {
		name, is := names[p.index], w.watched[p.index]
		if is != name && w.last[name].Exists && w.virtual(p.ip) {
			losses = append(losses, loss{ifName: name, ip: p.ip})
		}
		if is == "" {
			delete(w.present, p)
		}
	}
	slices.SortFunc(losses, byAddress)
	return losses
}

func byAddress(a, b loss) int { return a.ip.Compare(b.ip) }

// look asks for addresses and links. To a list of addresses that was interrupted belongs also what was there before and did
// not go since, as far as the events tell.
func (w *Watcher) look() (links []Link, whole bool, err error) {
	own, whole, err := w.kernel.look()
	if err != nil {
		return nil, false, err
	}
	if !whole && !w.overrun {
		stayed := slices.DeleteFunc(slices.Clone(w.own), func(a address) bool { _, there := w.present[a.at()]; return !there })
		own = union(stayed, own)
	}
	if !w.listed || w.overrun {
		if w.swallowers, w.listed, err = w.kernel.swallowers(); err != nil {
			return nil, false, err
		}
		whole = whole && w.listed
	}
	for _, name := range *w.names.Load() {
		l, err := w.kernel.link(name, own, w.virtual)
		if err != nil {
			return nil, false, err
		}
		if l.Exists {
			l.Swallowers = w.swallowersOn(l.Index)
		}
		links = append(links, l)
	}
	w.own = own
	return links, whole, nil
}

// plan sees to it that the kernel is asked again if a look did not give a whole picture, and tells of trouble once.
func (w *Watcher) plan(whole bool, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != w.trouble && w.Trouble != nil {
		w.Trouble(err)
	}
	w.trouble = text
	if whole {
		w.pause = 0
		w.again.Stop()
		return
	}
	w.pause = min(max(2*w.pause, lookAgain), lookSeldom)
	w.again.Reset(w.pause)
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
	slices.SortFunc(losses, byAddress)
	return losses
}

// Close releases the sockets. Run must have ended.
func (w *Watcher) Close() error {
	w.kernel.close()
	return w.events.Close()
}
