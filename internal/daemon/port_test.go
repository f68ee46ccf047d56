package daemon

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// keeping is a keeper of the sockets on v0, whose loop only takes notes, and a peer at the other end of the wire. The test is the
// keeper's goroutine: its thread alone is in the namespace.
type keeping struct {
	*portKeeper
	t    *testing.T
	peer map[vrrp.Family]*linux.Conn

	mu    sync.Mutex // guards what follows
	heard []node.Heard
	last  node.Link
}

func newKeeping(t *testing.T, instances ...node.Instance) *keeping {
	t.Helper()
	peer := onAWire(t)
	d := newDaemon(&config.Config{Node: "lb1", Instances: instances}, Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})
	var err error
	if d.kernel, err = linux.OpenAddresses(d.opts.RuntimeDir); err != nil {
		t.Fatal(err)
	}
	d.watcher = new(linux.Watcher)
	d.addresses = newAddressSetter(&fakeKernel{}, d.post, d.log)
	k := &keeping{t: t, portKeeper: newPortKeeper(d), peer: peer}
	ctx, cancel := context.WithCancel(context.Background())
	var loop sync.WaitGroup
	loop.Go(func() { _ = d.addresses.run(ctx) })
	loop.Go(func() {
		for {
			select {
			case c := <-d.ports:
				k.note(func() { k.last = c.link })
				close(c.done)
			case ev := <-d.events:
				if h, ok := ev.(node.Heard); ok {
					k.note(func() { k.heard = append(k.heard, h) })
				}
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		for _, p := range k.open {
			p.close()
		}
		cancel()
		loop.Wait()
		_ = d.kernel.Close()
	})
	k.known["v0"] = k.look()
	k.follow(t.Context(), k.known["v0"])
	if _, open := k.open["v0"]; !open {
		t.Fatal(k.failed)
	}
	return k
}

// onAWire puts the test's thread into a namespace with one end of a wire, and returns the sockets of a peer at the other.
func onAWire(t *testing.T) map[vrrp.Family]*linux.Conn {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root and the program ip")
		}
		t.Skip("needs root and the program ip")
	}
	runtime.LockOSThread() // for good: the thread ends with the test
	var ends []netns.NsHandle
	for range 2 {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ns.Close() })
		ends = append(ends, ns)
	}
	commands(t, "ip link add v1 address 02:00:00:00:00:02 type veth peer name v0 address 02:00:00:00:00:01",
		"ip link set v1 addrgenmode none", "ip addr add 10.9.0.2/24 dev v1", "ip addr add fe80::2/64 dev v1 nodad")
	v0, err := netlink.LinkByName("v0")
	if err == nil {
		err = netlink.LinkSetNsFd(v0, int(ends[0]))
	}
	if err == nil {
		err = netns.Set(ends[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	commands(t, "ip link set v0 addrgenmode none", "ip addr add 10.9.0.1/24 dev v0", "ip addr add fe80::1/64 dev v0 nodad", "ip link set v0 up")
	for _, name := range []string{"rp_filter", "arp_filter", "arp_ignore"} {
		if err := os.WriteFile(filepath.Join("/proc/sys/net/ipv4/conf/all", name), []byte("0"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := netns.Set(ends[1]); err != nil {
		t.Fatal(err)
	}
	commands(t, "ip link set v1 up")
	peer := map[vrrp.Family]*linux.Conn{}
	for _, f := range []vrrp.Family{vrrp.IPv4, vrrp.IPv6} {
		if peer[f], err = linux.Listen("v1", f == vrrp.IPv6); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { peer[f].Close() })
	}
	if err := netns.Set(ends[0]); err != nil {
		t.Fatal(err)
	}
	return peer
}

func commands(t *testing.T, list ...string) {
	t.Helper()
	for _, c := range list {
		words := strings.Fields(c)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", c, err, out)
		}
	}
}

func (k *keeping) note(do func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	do()
}

// look is what the watcher would say.
func (k *keeping) look() linux.Link {
	k.t.Helper()
	ifi, err := net.InterfaceByName("v0")
	if err != nil {
		k.t.Fatal(err)
	}
	return linux.Link{Name: "v0", Index: ifi.Index, Exists: true, Up: true, MAC: ifi.HardwareAddr.String(), MTU: ifi.MTU,
		Source4: netip.MustParseAddr("10.9.0.1"), Source6: netip.MustParseAddr("fe80::1")}
}

// says has the peer send one advert, whose address ends with its number.
func (k *keeping) says(f vrrp.Family, vrid uint8, number uint32) error {
	a := vrrp.Advert{Version: vrrp.V3, VRID: vrid, Priority: 200, Interval: time.Second}
	source, group, address := netip.MustParseAddr("10.9.0.2"), vrrp.GroupIPv4, []byte{192, 0, 0, 0}
	if f == vrrp.IPv6 {
		source, group, address = netip.MustParseAddr("fe80::2"), vrrp.GroupIPv6, netip.MustParseAddr("fe80::").AsSlice()
	}
	last := address[len(address)-4:]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)|number)
	ip, _ := netip.AddrFromSlice(address)
	a.Addresses = []netip.Addr{ip}
	b, err := a.Append(nil, source, group, vrrp.ChecksumPseudoHeader)
	if err != nil {
		return err
	}
	return k.peer[f].Send(b, source, group)
}

// numbers are those of the adverts of a virtual router that were heard so far.
func (k *keeping) numbers(f vrrp.Family, vrid uint8) (list []uint32) {
	k.note(func() {
		for _, h := range k.heard {
			if h.Received.VRID == vrid && vrrp.FamilyOf(h.Received.From) == f {
				address := h.Received.Addresses[0].AsSlice()
				list = append(list, binary.BigEndian.Uint32(address[len(address)-4:])&0xffffff)
			}
		}
	})
	return list
}

// hears waits until an advert that is sent again and again is heard.
func (k *keeping) hears(f vrrp.Family, vrid uint8) {
	k.t.Helper()
	eventually(k.t, "the peer is heard", func() bool {
		err := k.says(f, vrid, 1) // the wire may have no carrier yet
		return err == nil && len(k.numbers(f, vrid)) > 0
	})
}

// reload gives the keeper another configuration.
func (k *keeping) reload(instances ...node.Instance) {
	k.cfg.Store(&config.Config{Node: "lb1", Instances: instances})
	k.reconfigure(k.t.Context())
}

// knows gives the daemon the snapshot of a node with these instances.
func (k *keeping) knows(instances ...node.Instance) {
	now := time.Now()
	k.snapshot.Store(node.New(k.nodeConfig(&config.Config{Node: "lb1", Instances: instances}), now).Status(now))
}

// TestEachAdvertIsHeardOnce: a second copy looks like one that somebody replays, or steps a new master down; and a reload, a device that is
// made, or a socket that breaks are no reason to miss one.
func TestEachAdvertIsHeardOnce(t *testing.T) {
	web, mail := on("web", "v0", 71, "192.0.2.10"), on("mail", "v0", 72, "192.0.2.11")
	virtual, both := mail, on("web", "v0", 71, "192.0.2.10", "fe80::10")
	virtual.VirtualMAC = true
	reopened := func(k *keeping) {
		k.open["v0"].broken.Store(true)
		k.follow(t.Context(), k.known["v0"])
	}
	tests := []struct {
		name   string
		change func(*keeping)
		gaps   int // between what is heard, at most
	}{
		{"an instance comes", func(k *keeping) { k.reload(web, mail) }, 0},
		{"an instance with a virtual MAC comes", func(k *keeping) { k.reload(web, virtual) }, 0},
		{"its device is made again", func(k *keeping) {
			k.reload(web, virtual)
			commands(k.t, "ip link del us4-72-v0")
			k.deviceChanged(k.t.Context(), linux.Link{Name: "us4-72-v0"})
		}, 0},
		{"it goes", func(k *keeping) {
			k.reload(web, virtual)
			k.knows(web)
			k.reload(web)
			k.pruneDevices(k.t.Context())
			if _, err := net.InterfaceByName("us4-72-v0"); err == nil {
				k.t.Error("the device is still there")
			}
		}, 0},
		{"a family comes and goes", func(k *keeping) {
			k.reload(both)
			k.reload(web)
		}, 0},
		{"a socket broke", reopened, 1},
		{"the MAC address changed", func(k *keeping) {
			commands(k.t, "ip link set v0 address 02:00:00:00:00:07")
			k.known["v0"] = k.look()
			k.follow(k.t.Context(), k.known["v0"])
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKeeping(t, web)
			k.knows(web)
			k.hears(vrrp.IPv4, 71)
			stop, sent := make(chan struct{}), make(chan uint32)
			go func() { sent <- k.chatters(stop) }()
			tt.change(k)
			close(stop)
			last := <-sent
			eventually(t, "the last advert is heard", func() bool { list := k.numbers(vrrp.IPv4, 71); return list[len(list)-1] == last })
			gaps, before := 0, uint32(1)
			for _, n := range k.numbers(vrrp.IPv4, 71) {
				switch {
				case n == 1: // sent again and again
					continue
				case n <= before:
					t.Errorf("advert %d came after %d", n, before)
				case n > before+1:
					gaps++
					t.Logf("between adverts %d and %d of %d nothing was heard", before, n, last)
				}
				before = n
			}
			if gaps > tt.gaps {
				t.Errorf("%d times adverts were lost", gaps)
			}
		})
	}
}

// chatters has the peer send adverts until stop is closed, much faster than any master, and returns the number of the last.
func (k *keeping) chatters(stop <-chan struct{}) uint32 {
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for n := uint32(2); ; <-tick.C {
		if k.says(vrrp.IPv4, 71, n) == nil {
			n++
		}
		select {
		case <-stop:
			return n - 1
		default:
		}
	}
}

// TestSocketsShrink: what was for an instance or a family that has handed over hears nothing any more, and is closed.
func TestSocketsShrink(t *testing.T) {
	both, mail := on("web", "v0", 71, "192.0.2.10", "fe80::10"), on("mail", "v0", 72, "192.0.2.11")
	web := on("web", "v0", 71, "192.0.2.10")
	k := newKeeping(t, both, mail)
	k.knows(both, mail)
	k.hears(vrrp.IPv4, 72)
	k.hears(vrrp.IPv6, 71)
	four, six := k.open["v0"].ears[vrrp.IPv4], k.open["v0"].ears[vrrp.IPv6]

	k.reload(web) // they hand over
	k.note(func() { k.heard = nil })
	k.hears(vrrp.IPv4, 72)
	k.hears(vrrp.IPv6, 71)
	if p := k.open["v0"]; p.ears[vrrp.IPv4] != four || p.ears[vrrp.IPv6] != six {
		t.Error("the sockets were opened again")
	}

	k.knows(web) // they have
	k.reconfigure(t.Context())
	k.note(func() { k.heard = nil })
	if err := k.says(vrrp.IPv4, 72, 2); err != nil {
		t.Fatal(err)
	}
	k.hears(vrrp.IPv4, 71)
	if list := k.numbers(vrrp.IPv4, 72); len(list) > 0 {
		t.Error("what is for the removed instance still reaches the daemon")
	}
	if _, open := k.open["v0"].ears[vrrp.IPv6]; open {
		t.Error("the removed family still has its sockets")
	}
	if _, err := six.conn.Pending(); err == nil {
		t.Error("its socket is still open")
	}
}
