package mechanisms

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// tap is a host that catches the adverts of others, and plays whatever it likes.
type tap struct {
	conn *packet.Conn
	mac  net.HardwareAddr
	mu   sync.Mutex // guards what follows
	got  [][]byte   // whole Ethernet frames
}

// The parts of a frame: Ethernet, then an IPv4 header without options.
const (
	etherLen = 14
	ipLen    = 20
	sourceAt = etherLen + 12
)

func newTap(t *testing.T, h *netlab.Host) *tap {
	t.Helper()
	p := &tap{mac: h.MAC()}
	err := h.Do(func() error {
		ifi, err := net.InterfaceByName(netlab.Interface)
		if err != nil {
			return err
		}
		p.conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_IP, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		b := make([]byte, 2048)
		for {
			n, _, err := p.conn.ReadFrom(b)
			if err != nil {
				return
			}
			if n > etherLen+ipLen && b[etherLen] == 0x45 && b[etherLen+9] == vrrp.ProtocolNumber {
				p.mu.Lock()
				p.got = append(p.got, slices.Clone(b[:n]))
				p.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() {
		_ = p.conn.Close()
		reading.Wait()
	})
	return p
}

// caught waits for an advert of a host with a priority and an interval, and returns the newest.
func (p *tap) caught(t *testing.T, from string, priority byte, interval time.Duration) []byte {
	t.Helper()
	centiseconds := uint16(interval / (10 * time.Millisecond))
	var frame []byte
	labtest.Eventually(t, moveBound, func() (bool, string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, f := range p.got {
			if netip.AddrFrom4([4]byte(f[sourceAt:sourceAt+4])).String() == from && f[etherLen+ipLen+2] == priority &&
				binary.BigEndian.Uint16(f[etherLen+ipLen+4:]) == centiseconds {
				frame = f
			}
		}
		return frame != nil, fmt.Sprintf("no advert of %s with priority %d was caught", from, priority)
	})
	return frame
}

// play sends frames. Their MAC address is the tap's own: what a stolen one does to the switch is another story.
func (p *tap) play(t *testing.T, frames ...[]byte) {
	t.Helper()
	for _, frame := range frames {
		frame = slices.Clone(frame)
		copy(frame[6:], p.mac)
		if _, err := p.conn.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])}); err != nil {
			t.Fatal(err)
		}
	}
	pairtest.Until(t, time.Now().Add(20*time.Millisecond))
}

// forged is a frame like another one, with another sender and another message.
func forged(like []byte, from string, message []byte) []byte {
	f := append(slices.Clone(like[:etherLen+ipLen]), message...)
	ip := f[etherLen : etherLen+ipLen]
	binary.BigEndian.PutUint16(ip[2:], uint16(ipLen+len(message)))
	copy(ip[12:], netip.MustParseAddr(from).AsSlice())
	binary.BigEndian.PutUint16(ip[10:], 0)
	var sum uint32
	for i := 0; i < ipLen; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	return f
}

// message is an advert of web, signed where there are keys.
func message(t *testing.T, from string, priority uint8, interval time.Duration, auth *vrrp.Auth) []byte {
	t.Helper()
	return messageAt(t, time.Now(), from, priority, interval, auth)
}

// messageAt is one that was sent when its sender's clock showed that time.
func messageAt(t *testing.T, at time.Time, from string, priority uint8, interval time.Duration, auth *vrrp.Auth) []byte {
	t.Helper()
	source := netip.MustParseAddr(from)
	a := vrrp.Advert{Version: vrrp.V3, VRID: 71, Priority: priority, Interval: interval, Addresses: []netip.Addr{web4}}
	var signer vrrp.Authenticator
	trailer, err := signer.Sign(auth, at, &a, source)
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.AppendSealed(nil, source, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader, trailer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keyOf is the text of a key.
func keyOf(id int) string { return strings.Repeat(fmt.Sprintf("secret-%d ", id), 4) }

// authenticated is the instance web with keys, one of which signs. Without a lease cleanup finds its address however busy the
// machine is.
func authenticated(active int, ids ...int) string {
	var keys strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&keys, "key \"%d\" {\n file = \"LAB/${hostname}/key-%d\"\n}\n", id, id)
	}
	return instance(fmt.Sprintf("advertise_interval = \"500ms\"\nlease = false\nauth {\nactive = %d\n%s}", active, keys.String())) + page
}

const authInterval = 500 * time.Millisecond

// giveKeys writes the keys 1 and 2 on every host.
func giveKeys(t *testing.T, c *pairtest.Cluster) {
	t.Helper()
	for _, h := range c.Hosts {
		for _, id := range []int{1, 2} {
			if err := os.WriteFile(filepath.Join(h.Dir(), fmt.Sprintf("key-%d", id)), []byte(keyOf(id)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// early counts what a host heard that was sent before it listened.
func early(i node.InstanceStatus) uint64 {
	if c := i.Routers[0].Notices["early"]; c != nil {
		return c.Count
	}
	return 0
}

// refused counts what a host refused for a reason.
func refused(i node.InstanceStatus, reason *vrrp.Refusal) uint64 {
	if c := i.Routers[0].Refused[reason.Reason()]; c != nil {
		return c.Count
	}
	return 0
}

// TestAuthentication tells of a pair with keys: of a rotation, and of what others send who have none.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, authenticated(1, 1))
	giveKeys(t, c)
	begin(t, c)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	link := newTap(t, c.User)

	t.Run("a rotation loses no advert and no connection", func(t *testing.T) { rotation(t, c) })
	t.Run("a host without the key changes nothing", func(t *testing.T) {
		like := link.caught(t, "10.0.0.11", 150, authInterval)
		other := &vrrp.Auth{Active: 2, Window: 5 * time.Second, Keys: []vrrp.Key{{ID: 2, Secret: vrrp.NewSecret([]byte(keyOf(3)))}}}
		from := time.Now()
		for range 10 {
			for _, m := range []struct {
				from     string
				priority uint8
				auth     *vrrp.Auth
			}{{"10.0.0.66", 254, nil}, {"10.0.0.66", 254, other}, {"10.0.0.11", 0, nil}, {"10.0.0.11", 0, other}} {
				link.play(t, forged(like, m.from, message(t, m.from, m.priority, authInterval, m.auth)))
			}
		}
		c.Rests(t, from, time.Now().Add(2*authInterval))
		for _, h := range []*pairtest.Server{lb1, lb2} {
			i := status(t, h)
			if refused(i, vrrp.ErrAuthMissing) == 0 || refused(i, vrrp.ErrAuthMAC) == 0 {
				t.Errorf("%s refused %v", h.Name(), i.Routers[0].Refused)
			}
		}
		lb2.Says(t, `adverts from 10\.0\.0\.66 .*are refused: carries no signature`, time.Second)
	})
	for _, way := range []struct {
		name string
		end  func() error
	}{
		{"stopped", func() error { lb2.Stop(t); return lost(lb2.Run) }}, // as systemd does
		{"killed", func() error { return errors.Join(lb2.Daemon.Kill(), ignore(lb2.Daemon.Wait(t.Context()))) }},
		{"killed by a power cut", func() error {
			return errors.Join(lb2.Daemon.Kill(), ignore(lb2.Daemon.Wait(t.Context())), lost(lb2.Run))
		}},
	} {
		t.Run("a caught advert changes nothing after the backup was "+way.name, func(t *testing.T) { replayed(t, c, link, way.end) })
	}
	t.Run("cleanup speaks for a daemon that was killed, with its key", func(t *testing.T) {
		from := pairtest.Step(t, lb1.Daemon.Kill)
		if out := lb1.Does(t, 0, "cleanup"); !strings.Contains(out, "every address that was left behind has gone to another host") {
			t.Errorf("cleanup says %q", out)
		}
		c.Only(t, "lb2", time.Second)
		c.Planned(t, from, "lb2")
		lb1.Start(t)
		c.Settled(t, "lb1")
	})
	t.Run("cleanup says nothing without a key", func(t *testing.T) {
		pairtest.Step(t, lb1.Daemon.Kill)
		key := filepath.Join(lb1.Dir(), "key-2")
		if err := os.Rename(key, key+".gone"); err != nil {
			t.Fatal(err)
		}
		if out := lb1.Does(t, 0, "cleanup"); !strings.Contains(out, "are released, and nothing could be said to the other hosts: web: "+key+" does not exist") {
			t.Errorf("cleanup says %q", out)
		}
		c.Only(t, "lb2", moveBound)
		if got := status(t, lb2).Routers[0].Refused; refused(status(t, lb2), vrrp.ErrAuthMissing) > 0 {
			t.Errorf("lb2 refused %v", got)
		}
		lb1.Does(t, 1, "run", "--config", lb1.ConfigFile(), "--node", "lb1")
		if err := os.Rename(key+".gone", key); err != nil {
			t.Fatal(err)
		}
		lb1.Start(t)
		c.Settled(t, "lb1")
	})
	for _, h := range c.Hosts {
		if strings.Contains(h.Log()+h.Does(t, 0, "status", "--json"), "secret-") {
			t.Errorf("a key is shown on %s", h.Name())
		}
	}
}

// lost removes what authentication remembers from one of a host's directories.
func lost(dir string) error { return os.Remove(filepath.Join(dir, "auth.json")) }

// ignore is for how a killed process ends.
func ignore(error) error { return nil }

// rotation gives the pair key 2 instead of key 1 by three reloads of each host, and compares what lb1 sent with what lb2 took.
func rotation(t *testing.T, c *pairtest.Cluster) {
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	from := time.Now()
	sent, took := status(t, lb1).Routers[0].Counters.Sent, status(t, lb2).Routers[0].Counters.Signed
	for _, step := range []string{authenticated(1, 1, 2), authenticated(2, 1, 2), authenticated(2, 2)} {
		for _, h := range c.Hosts {
			before := h.Logged(reloaded)
			h.Configure(t, step)
			h.SaysAgain(t, reloaded, before, moveBound)
			pairtest.Until(t, time.Now().Add(2*authInterval))
		}
	}
	c.Rests(t, from, time.Now())
	i := status(t, lb2)
	sent, took = status(t, lb1).Routers[0].Counters.Sent-sent, i.Routers[0].Counters.Signed-took
	if took+1 < sent || took > sent+1 || sent < 12 { // each number is read at its own instant
		t.Errorf("lb1 sent %d adverts, lb2 accepted %d", sent, took)
	}
	if len(i.Routers[0].Refused) > 0 {
		t.Errorf("lb2 refused %v", i.Routers[0].Refused)
	}
	if s := i.Routers[0].Auth.Senders; len(s) != 1 || s[0].Key != 2 {
		t.Errorf("lb2 knows of %v, want lb1 with key 2", s)
	}
}

// replayed plays lb1's handover to lb2, which has been started again since it heard it: the signatures are right, and the time
// is within the window.
func replayed(t *testing.T, c *pairtest.Cluster, link *tap, end func() error) {
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	lb1.Stop(t)
	c.Only(t, "lb2", moveBound)
	handover := [][]byte{link.caught(t, "10.0.0.11", 150, 10*time.Millisecond), link.caught(t, "10.0.0.11", 0, authInterval)}
	farewell := handover[1]
	sent := time.Unix(int64(binary.BigEndian.Uint32(farewell[len(farewell)-vrrp.TrailerLen+4:])), 0) // up to a second later
	lb1.Start(t)
	c.Only(t, "lb1", moveBound)
	await(t, lb2, moveBound, func(i node.InstanceStatus) bool { return i.State == node.Backup && !i.Holding })
	if err := end(); err != nil {
		t.Fatal(err)
	}
	from := pairtest.Step(t, func() error { lb2.Start(t); return nil })
	// At once, most often before it has heard lb1 itself: only the memory of its predecessor knows better, or the start.
	before := await(t, lb2, moveBound, func(i node.InstanceStatus) bool { return i.State == node.Backup })
	for range 10 {
		link.play(t, handover...)
	}
	age := time.Since(sent) // a busy machine makes it stale
	c.Rests(t, from, time.Now().Add(2*authInterval))
	i := status(t, lb2)
	replays, stale := refused(i, vrrp.ErrAuthReplay), refused(i, vrrp.ErrAuthStale)
	t.Logf("%s old, after %d of lb1's adverts: refused %d as replays and %d as stale, %d early", age, before.Routers[0].Counters.Signed, replays, stale, early(i))
	// Of each of the two one at most is early: nothing counts twice.
	if age < 5*time.Second && replays == 0 || replays+stale+early(i) < 20 || early(i) > 2 {
		t.Errorf("lb2 refused %v, %d early", i.Routers[0].Refused, early(i))
	}
	if i.State != node.Backup || i.LastChange.From != node.Init {
		t.Errorf("lb2 is %s since %+v", i.State, i.LastChange)
	}
	c.Settled(t, "lb1")
}

// passConfig is the instance old as keepalived has it, with a password.
func passConfig(priority int, password string) string {
	return fmt.Sprintf(`
vrrp_instance old {
	interface eth0
	state BACKUP
	version 2
	virtual_router_id 73
	priority %d
	advert_int 1
	authentication {
		auth_type PASS
		auth_pass %s
	}
	virtual_ipaddress {
		10.0.0.102
	}
}
`, priority, password)
}

// TestKeepalivedPassword tells of a pair with keepalived as the other host in VRRPv2 with a password: understudy goes and comes
// back, and a keepalived with another password moves nothing.
func TestKeepalivedPassword(t *testing.T) {
	t.Parallel()
	pass := strings.Replace(v2, "addresses", "auth {\n password = \"s3cr3t\"\n}\naddresses", 1)
	c := cluster(t, []string{"lb1", "lb2"}, pass, old4)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	lb1.Start(t)
	c.Only(t, "lb1", settleBound)
	k := pairtest.StartKeepalived(t, lb2.Host, passConfig(100, "s3cr3t"))
	from := time.Now()
	c.Rests(t, from, from.Add(down+time.Second)) // it hears lb1, or it would take over by then

	t.Run("understudy goes, and comes back", func(t *testing.T) {
		from := pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGTERM) })
		c.Only(t, "lb2", moveBound)
		c.Moved(t, old4, from, "lb2")
		<-lb1.Daemon.Done()
		from = pairtest.Step(t, func() error { lb1.Start(t); return nil })
		c.Only(t, "lb1", settleBound)
		c.Moved(t, old4, from, "lb1")
		i, err := lb1.Instance(t, "old")
		if err != nil {
			t.Fatal(err)
		}
		if r := i.Routers[0]; r.Counters.Accepted == 0 || len(r.Refused) > 0 {
			t.Errorf("lb1 accepted %d adverts of keepalived and refused %v", r.Counters.Accepted, r.Refused)
		}
	})
	t.Run("keepalived goes, and another password moves nothing", func(t *testing.T) {
		if err := k.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := k.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		pairtest.StartKeepalived(t, lb2.Host, passConfig(254, "0th3r"))
		// One is enough: each of our adverts, which it refuses, puts keepalived's own next one off by an interval.
		labtest.Eventually(t, settleBound, func() (bool, string) {
			i, err := lb1.Instance(t, "old")
			return err == nil && refused(i, vrrp.ErrPasswordWrong) > 0, fmt.Sprintf("lb1 refused too little: %+v, %v", i.Routers, err)
		})
		if i, err := lb1.Instance(t, "old"); err != nil || i.State != node.Master {
			t.Errorf("old on lb1 is %s because %s, %v", i.State, i.Why, err)
		}
		lb1.Says(t, `adverts from 10\.0\.0\.12 .*are refused: its VRRPv2 password is not this instance's`, time.Second)
	})
	if strings.Contains(lb1.Log(), "s3cr3t") {
		t.Error("the password is in the log")
	}
}
