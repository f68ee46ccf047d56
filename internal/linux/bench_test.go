package linux

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// scale makes n owners of one IPv4 address each, 255 to an interface.
func scale(b *testing.B, self *host, n int) []Want {
	b.Helper()
	wants := make([]Want, n)
	for i := range wants {
		k := i / 255
		if i%255 == 0 {
			self.run(fmt.Sprintf("ip link add br%d type bridge", k), fmt.Sprintf("ip link set br%d up", k))
		}
		ip := netip.AddrFrom4([4]byte{10, 20, byte(k), byte(i%255 + 1)})
		wants[i] = Want{Owner: fmt.Sprintf("i%d", i), Interface: fmt.Sprintf("br%d", k), Addresses: []Address{{IP: ip}}}
	}
	return wants
}

// released is the same owners wanting nothing.
func released(wants []Want) []Want {
	none := slices.Clone(wants)
	for i := range none {
		none[i].Addresses = nil
	}
	return none
}

// inBatches sets wants as the daemon does.
func inBatches(b *testing.B, a *Addresses, wants []Want) time.Duration {
	began := time.Now()
	for batch := range slices.Chunk(wants, 256) {
		mustSet(b, a, batch...)
	}
	return time.Since(began)
}

func BenchmarkSet(b *testing.B) {
	for _, n := range []int{1, 255, 4080} {
		b.Run(fmt.Sprintf("%d owners", n), func(b *testing.B) {
			self, _ := pair(b)
			a := openAddresses(b, b.TempDir())
			wants := scale(b, self, n)
			benchmarkMoves(b, a, wants)
		})
	}
	b.Run("200 addresses of one owner", func(b *testing.B) {
		pair(b)
		benchmarkMoves(b, openAddresses(b, b.TempDir()), []Want{want(0, manyAddresses()...)})
	})
}

// benchmarkMoves reports what taking and releasing cost.
func benchmarkMoves(b *testing.B, a *Addresses, wants []Want) {
	b.ReportAllocs()
	var take, release time.Duration
	for b.Loop() {
		take += inBatches(b, a, wants)
		release += inBatches(b, a, released(wants))
	}
	b.ReportMetric(float64(take.Microseconds())/float64(b.N), "µs/take")
	b.ReportMetric(float64(release.Microseconds())/float64(b.N), "µs/release")
}

func BenchmarkRenew64(b *testing.B) {
	pair(b)
	a := openAddresses(b, b.TempDir())
	w := want(time.Minute, manyAddresses()[:64]...)
	mustSet(b, a, w)
	b.ReportAllocs()
	for b.Loop() {
		mustSet(b, a, w)
	}
}

// echoes are the kernel's events about renewals of n addresses on v0.
func echoes(t testing.TB, n int) [][]byte {
	t.Helper()
	events := must(subscribe(unix.RTNLGRP_IPV4_IFADDR))
	defer events.Close()
	a := openAddresses(t, t.TempDir())
	w := Want{Owner: "web", Interface: "v0", Lifetime: time.Minute}
	for i := range n {
		w.Addresses = append(w.Addresses, Address{IP: netip.AddrFrom4([4]byte{10, 20, byte(i / 250), byte(i%250 + 1)})})
	}
	mustSet(t, a, w)
	var list [][]byte
	buffer := make([]byte, eventBuffer)
	for range n {
		list = append(list, slices.Clone(buffer[:must(events.Read(buffer))]))
	}
	return list
}

// A renewal's echo is noted, and nothing is asked of the kernel: this watcher has no socket to ask on.
func BenchmarkWatcherEcho(b *testing.B) {
	pair(b)
	list := echoes(b, 64)
	w := echoWatcher()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		batch := must(syscall.ParseNetlinkMessage(list[i%len(list)]))
		if lost := w.handle(batch, nil); len(lost) > 0 {
			b.Fatal(lost)
		}
		i++
	}
}

// echoWatcher is a watcher of v0 that has heard of its links, and would fail if it asked again.
func echoWatcher() *Watcher {
	index := must(interfaceByName("v0")).Index
	return &Watcher{
		virtual: func(netip.Addr) bool { panic("asked about a tagged address") },
		last:    map[string]Link{"v0": {Name: "v0", Index: index, Exists: true}},
		watched: map[int]string{index: "v0"}, present: map[place]struct{}{},
	}
}

// BenchmarkWatcherRun is the whole way of 4,080 echoes through the socket.
func BenchmarkWatcherRun(b *testing.B) {
	pair(b)
	a := openAddresses(b, b.TempDir())
	w := must(OpenWatcher([]string{"v0"}, func(netip.Addr) bool { return true }))
	defer w.Close()
	lost := make(chan struct{}, 1)
	ctx := b.Context()
	links := make(chan Link, 10)
	go w.Run(ctx, func(l Link) { links <- l }, func(string, netip.Addr, bool) { lost <- struct{}{} })
	receive(b, links)
	renewal := want(time.Minute, manyAddresses()[:64]...)
	marker := want(0, "10.9.0.100")
	marker.Owner = "marker"
	mustSet(b, a, renewal)
	none := marker
	none.Addresses = nil
	var usage [2]unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage[0])
	for b.Loop() {
		for range 64 {
			mustSet(b, a, renewal)
		}
		mustSet(b, a, marker)
		mustSet(b, a, none)
		<-lost
	}
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage[1])
	spent := usage[1].Utime.Nano() + usage[1].Stime.Nano() - usage[0].Utime.Nano() - usage[0].Stime.Nano()
	b.ReportMetric(float64(spent)/float64(b.N)/4096/1000, "µs-cpu/renewal+echo")
}

// BenchmarkConnUnderAFlood is what the host spends for each packet of a flood of 50,000 a second that the socket's filter lets through,
// beside the sender's own thread, in which the kernel carries it.
func BenchmarkConnUnderAFlood(b *testing.B) {
	const gap = 20 * time.Microsecond
	_, peer := pair(b)
	c := must(Listen("v0", false))
	defer c.Close()
	if err := c.Accept(multicast(7)); err != nil {
		b.Fatal(err)
	}
	var sender *Conn
	peer.do(func() { sender = must(Listen("v1", false)) })
	defer sender.Close()
	ctx, stop := context.WithCancel(b.Context())
	var delivered atomic.Int64
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, func(Packet) { delivered.Add(1) }) }()
	spent := func(who int) (all time.Duration) { // pair has locked this goroutine to its thread
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := spent(unix.RUSAGE_SELF) - spent(unix.RUSAGE_THREAD)
	due, sent := time.Now(), int64(0)
	for b.Loop() {
		for due = due.Add(gap); time.Now().Before(due); {
		}
		if err := sender.Send(advert(0x31, 7), wires[0].peer, wires[0].group); err != nil {
			b.Fatal(err)
		}
		sent++
	}
	cost := spent(unix.RUSAGE_SELF) - spent(unix.RUSAGE_THREAD) - before
	stop()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(cost.Nanoseconds())/float64(sent), "ns-cpu/packet")
	b.ReportMetric(100*float64(delivered.Load())/float64(sent), "%delivered")
}

var sinkPacket Packet

func BenchmarkParse4(b *testing.B) {
	h := ipv4.Header{Version: 4, Len: 20, TotalLen: 32, TTL: 255, Protocol: 112, Src: []byte{10, 9, 0, 1}, Dst: []byte{224, 0, 0, 18}}
	packet := append(must(h.Marshal()), make([]byte, 12)...)
	b.ReportAllocs()
	for b.Loop() {
		sinkPacket, _ = parse4(packet)
	}
}
