package linux

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func router4Of(vrid uint8) Lockable { return Router{Interface: "v0", VRID: vrid} }

func locks(t *testing.T, inherited ...*os.File) *Locks {
	t.Helper()
	l, others := NewLocks(inherited)
	if len(others) > 0 {
		t.Errorf("%d files are no locks", len(others))
	}
	t.Cleanup(l.Close)
	return l
}

// TestLocks: in a network namespace a virtual router has one daemon, each interface, VRID and family by itself.
func TestLocks(t *testing.T) {
	pair(t)
	first, second := locks(t), locks(t)
	for range 2 { // the second time it has it
		if err := first.Take(router4Of(71)); err != nil {
			t.Fatal(err)
		}
	}
	want := fmt.Sprintf("another understudy on this host (pid %d) runs virtual router 71 on %q already: stop one of the two, or give them different VRIDs and addresses", os.Getpid(), "v0")
	err := second.Take(router4Of(71))
	if taken, is := errors.AsType[*TakenError](err); !is || taken.Error() != want {
		t.Errorf("the second has it, too: %v, want %s", err, want)
	}
	if err := second.TakeFree(router4Of(71)); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("it is free: %v", err)
	}
	for _, other := range []Lockable{router4Of(72), Router{"v0", 71, true}, Router{"v1", 71, false}, Place{"v0", netip.MustParseAddr("192.0.2.10")}} {
		if err := second.Take(other); err != nil {
			t.Errorf("%+v: %v", other, err)
		}
	}
	if list, err := second.Others(); err != nil || !slices.Equal(list, []Router{{"v0", 71, false}}) {
		t.Errorf("others run %v (%v)", list, err)
	}
	first.Keep(func(x Lockable) bool { return x != router4Of(71) })
	if list, err := second.Others(); err != nil || len(list) > 0 {
		t.Errorf("others run still %v (%v)", list, err)
	}
	if err := second.Take(router4Of(71)); err != nil {
		t.Errorf("the first let go of it: %v", err)
	}
	pair(t) // another network
	if err := first.Take(router4Of(71)); err != nil {
		t.Errorf("in another network: %v", err)
	}
}

// TestLocksOfAddresses: an address has one daemon on each interface, whatever its virtual router, and who has it is told with the remedy.
func TestLocksOfAddresses(t *testing.T) {
	pair(t)
	first, second := locks(t), locks(t)
	for _, text := range []string{"192.0.2.10", "2001:db8::10"} {
		ip := netip.MustParseAddr(text)
		if err := first.Take(Place{"v0", ip}); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("another understudy on this host (pid %d) has address %s on \"v0\" in another virtual router: "+
			"an address can be in one only; take it out of one of the two configurations", os.Getpid(), ip)
		err := second.Take(Place{"v0", ip})
		if taken, is := errors.AsType[*TakenError](err); !is || taken.Error() != want {
			t.Errorf("the second has it, too: %v, want %s", err, want)
		}
		for _, other := range []Place{{"v1", ip}, {"v0", ip.Next()}} {
			if err := second.Take(other); err != nil {
				t.Errorf("%s: %v", other, err)
			}
		}
		first.Drop(Place{"v0", ip})
		if err := second.Take(Place{"v0", ip}); err != nil || !second.Has(Place{"v0", ip}) || first.Has(Place{"v0", ip}) {
			t.Errorf("the first let go of it: %v", err)
		}
	}
}

// TestLockNames: what a name says is what was locked, and other names are none.
func TestLockNames(t *testing.T) {
	for _, x := range []Lockable{router4Of(71), Router{"v0", 71, true}, Place{"v0", netip.MustParseAddr("192.0.2.10")}, Place{"v0", netip.MustParseAddr("2001:db8::10")}} {
		if got, ok := parseLock(x.name()); !ok || got != x {
			t.Errorf("%s is %v, %t", x.name(), got, ok)
		}
	}
	for _, name := range []string{"", "@understudy/", "@understudy/v0", "@understudy/v0/x", "@understudy/v0/71/5", "@understudy/v0/256/4", "@understudy/v0/2001:DB8::10", "@other/v0/71/4"} {
		if got, ok := parseLock(name); ok {
			t.Errorf("%q is %v", name, got)
		}
		if list := locks(t).others("0: " + name); len(list) > 0 {
			t.Errorf("of %q others run %v", name, list)
		}
	}
}

// TestManyLockNames: whoever takes as many names as a process can have keeps the daemon busy for no time to speak of.
func TestManyLockNames(t *testing.T) {
	const count = 100_000
	var sockets strings.Builder
	for n := range count {
		fmt.Fprintf(&sockets, "0000000000000000: 00000002 00000000 00010000 0001 01 %d %s\n", n, Router{Interface: fmt.Sprint("v", n), VRID: 7}.name())
	}
	began := time.Now()
	list := locks(t).others(sockets.String())
	if took := time.Since(began); len(list) != count || took > 2*time.Second {
		t.Errorf("%d of %d names took %s", len(list), count, took)
	}
}

// TestLocksInherited: another program in the same process goes on with them, and gives the rest back.
func TestLocksInherited(t *testing.T) {
	pair(t)
	first := locks(t)
	if err := first.Take(router4Of(71)); err != nil {
		t.Fatal(err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	rest := inherited([]int{fds[0], fds[1]})
	again, err := unix.Dup(int(first.held[router4Of(71)].Fd()))
	if err != nil {
		t.Fatal(err)
	}
	next, others := NewLocks(append(inherited([]int{again}), rest...))
	for _, f := range others {
		_ = f.Close()
	}
	if len(others) != 2 || len(next.held) != 1 {
		t.Fatalf("%d files are no locks, %d are", len(others), len(next.held))
	}
	first.Close()
	if err := locks(t).TakeFree(router4Of(71)); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("with the first program the lock is gone: %v", err)
	}
	next.Close()
	if err := locks(t).Take(router4Of(71)); err != nil {
		t.Errorf("the second let go of it: %v", err)
	}
}

// playSquatter takes the name of a lock.
func playSquatter() string {
	l, _ := NewLocks(nil)
	if err := l.Take(router4Of(71)); err != nil {
		return err.Error()
	}
	os.Stdout.WriteString("has it\n")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the test ends
	return ""
}

// TestLocksOfStrangers: a process that may not send VRRP cannot keep a daemon from its work, and one that may is believed, whoever
// it belongs to.
func TestLocksOfStrangers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		ambient []uintptr
		want    string
	}{
		{"a user", nil, "the name @understudy/v0/71/4 belongs to a process that may not send VRRP"},
		{"a daemon with a user of its own", []uintptr{unix.CAP_NET_RAW}, "another understudy on this host (pid "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			needRoot(t, "go")
			program := withoutCgo(t)
			pair(t)
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Env, cmd.Dir = append(os.Environ(), role+"=squatter"), "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: tt.ambient}
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			said := make([]byte, 100)
			n, _ := out.Read(said)
			if string(said[:n]) != "has it\n" {
				t.Fatalf("it says %q", said[:n])
			}
			if err := locks(t).Take(router4Of(71)); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			_ = in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if err := locks(t).Take(router4Of(71)); err != nil {
				t.Errorf("it has ended: %v", err)
			}
		})
	}
}
