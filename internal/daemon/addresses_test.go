package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// fakeKernel has addresses, and keeps what was asked of it as the commands that would have done it.
type fakeKernel struct {
	has     map[place]bool
	did     []string
	refuse  map[netip.Addr]error // addresses that cannot be set or removed
	slow    time.Duration        // how long one Set takes
	notice  error
	foreign map[place]error // addresses that something else has set
}

func (f *fakeKernel) Set(wants ...linux.Want) (failed []linux.AddressError) {
	time.Sleep(f.slow)
	for _, w := range wants {
		var ips []string
		for _, a := range w.Addresses {
			ips = append(ips, a.IP.String())
		}
		f.did = append(f.did, fmt.Sprintf("%s on %s: %s", w.Owner, w.Interface, strings.Join(ips, " ")))
		for ip, err := range f.refuse {
			failed = append(failed, linux.AddressError{Owner: w.Owner, IP: ip, Err: err})
		}
	}
	return failed
}

func (f *fakeKernel) Missing(ifName string, ips []netip.Addr) ([]netip.Addr, error) {
	return slices.DeleteFunc(slices.Clone(ips), func(ip netip.Addr) bool { return f.has[place{ifName, ip}] }), nil
}

func (f *fakeKernel) Foreign(wants ...linux.Want) (list []linux.AddressError, err error) {
	for _, w := range wants {
		for _, a := range w.Addresses {
			if why := f.foreign[place{w.Interface, a.IP}]; why != nil {
				list = append(list, linux.AddressError{Owner: w.Owner, IP: a.IP, Err: why})
			}
		}
	}
	return list, nil
}

func (f *fakeKernel) Notice() error { return f.notice }

var (
	vip1 = netip.MustParseAddr("192.0.2.10")
	vip2 = netip.MustParseAddr("192.0.2.11")
)

// wish is a wish of an instance on eth0.
func wish(instance string, until time.Time, ips ...netip.Addr) node.SetAddresses {
	w := node.SetAddresses{Instance: instance, Interface: "eth0", Until: until}
	for _, ip := range ips {
		w.Addresses = append(w.Addresses, node.Address{IP: ip})
	}
	return w
}

// setting runs a setter inside a bubble, and gathers its events.
type setting struct {
	*addressSetter
	kernel *fakeKernel
	log    strings.Builder
	events []string
	end    func()
}

func newSetting(t *testing.T) *setting {
	s := &setting{kernel: &fakeKernel{has: map[place]bool{}, refuse: map[netip.Addr]error{}}}
	post := func(_ context.Context, ev node.Event) {
		s.events = append(s.events, strings.TrimPrefix(fmt.Sprintf("%T%+v", ev, ev), "node."))
	}
	s.addressSetter = newAddressSetter(s.kernel, post, hclog.New(&hclog.LoggerOptions{Output: &s.log, DisableTime: true}))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	s.end = func() {
		cancel()
		<-ended
	}
	return s
}

func TestWishes(t *testing.T) {
	none := time.Time{}
	tests := []struct {
		name   string
		do     func(s *setting) // while the setter is busy for a second with another instance
		did    []string
		events []string
	}{
		{
			"a take is done and told",
			func(s *setting) { s.set(wish("web", none, vip1)) },
			[]string{"web on eth0: 192.0.2.10"}, []string{"AddressesSet{Instance:web Request:0}"},
		},
		{
			"a release is done and not told",
			func(s *setting) { s.set(wish("web", none)) },
			[]string{"web on eth0: "}, nil,
		},
		{
			"only the newest wish counts",
			func(s *setting) {
				s.set(wish("web", none, vip1))
				s.set(wish("web", none))
				s.set(wish("web", none, vip1, vip2))
				s.set(wish("web", none))
			},
			[]string{"web on eth0: "}, nil,
		},
		{
			"instances come in the order of their oldest wish",
			func(s *setting) {
				s.set(wish("web", none, vip1))
				s.set(wish("mail", none, vip2))
				s.set(wish("web", none))
			},
			[]string{"web on eth0: ", "mail on eth0: 192.0.2.11"}, []string{"AddressesSet{Instance:mail Request:0}"},
		},
		{
			"a renewal that comes too late is left out",
			func(s *setting) { s.set(wish("web", time.Now().Add(500*time.Millisecond), vip1)) },
			nil, nil,
		},
		{
			"a renewal does not make the take stale that it replaces",
			func(s *setting) {
				s.set(wish("web", none, vip1))
				s.set(wish("web", time.Now().Add(time.Millisecond), vip1))
				s.set(wish("web", time.Now().Add(time.Millisecond), vip1))
			},
			[]string{"web on eth0: 192.0.2.10"}, []string{"AddressesSet{Instance:web Request:0}"},
		},
		{
			"a release is never stale",
			func(s *setting) {
				s.set(wish("web", time.Now().Add(time.Millisecond), vip1))
				s.set(wish("web", none))
			},
			[]string{"web on eth0: "}, nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSetting(t)
				s.kernel.slow = time.Second
				s.set(wish("busy", none, vip1))
				synctest.Wait()
				tt.do(s)
				s.drain(t.Context())
				s.end()
				if diff := cmp.Diff(append([]string{"busy on eth0: 192.0.2.10"}, tt.did...), s.kernel.did); diff != "" {
					t.Errorf("done (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(append([]string{"AddressesSet{Instance:busy Request:0}"}, tt.events...), s.events); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAddressThatCannotBeSetIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t)
		s.kernel.refuse[vip1] = errors.New("no buffer space available")
		s.set(wish("web", time.Time{}, vip1))
		s.drain(t.Context())
		s.end()
		want := []string{"AddressFailed{Instance:web IP:192.0.2.10 Err:no buffer space available}"}
		if diff := cmp.Diff(want, s.events); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// An address that stays on a host which gave it up is what must not happen; nobody else would try again.
func TestReleaseThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t)
		s.kernel.refuse[vip1] = errors.New("no buffer space available")
		s.set(wish("web", time.Time{}))
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if n := len(s.kernel.did); n != 3 {
			t.Errorf("%d tries in 2.5 s, want 3", n)
		}
		bound, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		s.drain(bound)
		if bound.Err() == nil {
			t.Error("drained, although an address is still there")
		}
		synctest.Wait()
		clear(s.kernel.refuse)
		s.drain(t.Context())
		s.end()
		if n := len(s.kernel.did); n != 4 {
			t.Errorf("%d tries in all, want 4", n)
		}
		if n := strings.Count(s.log.String(), "stays on this one"); n != 3 {
			t.Errorf("%d complaints, want 3:\n%s", n, s.log.String())
		}
		stays, gone := "Stays{Instance:web IPs:[192.0.2.10] Err:no buffer space available}", "Stays{Instance:web IPs:[] Err:<nil>}"
		if diff := cmp.Diff([]string{stays, stays, stays, gone}, s.events); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

func TestReleaseThatFailedIsForgottenWhenTheAddressIsWantedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t)
		s.kernel.refuse[vip1] = errors.New("no buffer space available")
		s.set(wish("web", time.Time{}))
		synctest.Wait()
		clear(s.kernel.refuse)
		s.set(wish("web", time.Time{}, vip1))
		time.Sleep(5 * time.Second)
		s.end()
		if diff := cmp.Diff([]string{"web on eth0: ", "web on eth0: 192.0.2.10"}, s.kernel.did); diff != "" {
			t.Errorf("done (-want +got):\n%s", diff)
		}
	})
}

func TestDeletions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t)
		s.set(wish("web", time.Time{}, vip1, vip2))
		s.set(wish("mail", time.Time{}, vip2))
		s.drain(t.Context())
		s.events = nil
		s.kernel.has[place{"eth0", vip2}] = true
		for _, ifName := range []string{"eth0", "eth1"} {
			for _, ip := range []netip.Addr{vip1, vip2, netip.MustParseAddr("192.0.2.99")} {
				s.lostOn(ifName, ip, false)
			}
		}
		synctest.Wait()
		want := []string{"AddressLost{Interface:eth0 IP:192.0.2.10 Expired:false}"}
		if diff := cmp.Diff(want, s.events); diff != "" {
			t.Errorf("only what is wanted there and is gone is lost (-want +got):\n%s", diff)
		}
		// What we release ourselves is no loss, while another instance still wants its share of it.
		s.set(wish("web", time.Time{}))
		s.drain(t.Context())
		s.events = nil
		clear(s.kernel.has)
		s.lostOn("eth0", vip1, false)
		s.lostOn("eth0", vip2, true)
		synctest.Wait()
		s.end()
		if diff := cmp.Diff([]string{"AddressLost{Interface:eth0 IP:192.0.2.11 Expired:true}"}, s.events); diff != "" {
			t.Errorf("after a release (-want +got):\n%s", diff)
		}
		if n := len(s.wanted); n != 1 {
			t.Errorf("%d addresses are wanted, want 1", n)
		}
	})
}

// What somebody else has cannot be set; when it goes, the wait for another try is over. Our own removals are no such news.
func TestDeletionOfWhatStoodInTheWay(t *testing.T) {
	foreign := fmt.Errorf("192.0.2.10 is on eth0 already and %w", linux.ErrForeign)
	lost := []string{"AddressLost{Interface:eth0 IP:192.0.2.10 Expired:false}"}
	tests := []struct {
		name string
		err  error
		on   string // where the deletion is
		do   func(t *testing.T, s *setting)
		want []string
	}{
		{"it was somebody else's", foreign, "eth0", nil, lost},
		{"on the device of a virtual MAC", foreign, "us4-71-eth0", nil, lost},
		{"on another interface", foreign, "eth1", nil, nil},
		{"there was another reason, so it may be our own", errors.New("no buffer space available"), "eth0", nil, nil},
		{"it was set after all", foreign, "eth0", func(t *testing.T, s *setting) {
			s.set(wish("web", time.Time{}, vip1))
			s.drain(t.Context())
			s.set(wish("web", time.Time{}))
		}, nil},
		{"it is there again, and goes for good", foreign, "eth0", func(_ *testing.T, s *setting) {
			s.kernel.has[place{"eth0", vip1}] = true
			s.lostOn("eth0", vip1, false)
			synctest.Wait()
			clear(s.kernel.has)
		}, lost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSetting(t)
				s.kernel.refuse[vip1] = tt.err
				w := wish("web", time.Time{}, vip1)
				w.VirtualMAC = 71
				s.set(w)
				s.drain(t.Context())
				clear(s.kernel.refuse)
				s.set(wish("web", time.Time{}))
				s.drain(t.Context())
				if tt.do != nil {
					tt.do(t, s)
					s.drain(t.Context())
				}
				s.events = nil
				for range 2 { // twice is told once
					s.lostOn(tt.on, vip1, false)
					s.lostOn(tt.on, vip2, false)
					synctest.Wait()
				}
				s.end()
				if diff := cmp.Diff(tt.want, s.events); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// What a program could not set is news also for the one that goes on for it.
func TestBarredIsInherited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t)
		was := &node.Sealed{Instances: make([]node.SealedInstance, 2)}
		for _, w := range []node.SetAddresses{wish("web", time.Time{}, vip1), wish("mail", time.Time{}, vip2)} {
			was.Config.Instances = append(was.Config.Instances, node.Instance{Name: w.Instance, Interface: w.Interface, Addresses: w.Addresses})
		}
		was.Instances[1].Failure.Why = "cannot set 192.0.2.11"
		s.inherit(was)
		s.lostOn("eth0", vip1, false)
		s.lostOn("eth0", vip2, false)
		synctest.Wait()
		s.end()
		if diff := cmp.Diff([]string{"AddressLost{Interface:eth0 IP:192.0.2.11 Expired:false}"}, s.events); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// TestLeaseThatRanOut has the renewal that came too late set the address again before its loss is looked into: nobody would say so.
func TestLeaseThatRanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t)
		s.set(wish("web", time.Time{}, vip1))
		s.drain(t.Context())
		s.events = nil
		s.kernel.has[place{"eth0", vip1}] = true
		s.lostOn("eth0", vip1, true)
		synctest.Wait()
		s.end()
		if diff := cmp.Diff([]string{"AddressLost{Interface:eth0 IP:192.0.2.10 Expired:true}"}, s.events); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestWhatWaitsForTheReleaseComesAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t)
		s.kernel.slow = time.Second
		s.set(wish("web", time.Time{}))
		s.set(wish("mail", time.Time{}))
		s.then(func() { s.kernel.did = append(s.kernel.did, "stop hook") })
		s.drain(t.Context())
		s.end()
		if diff := cmp.Diff([]string{"web on eth0: ", "mail on eth0: ", "stop hook"}, s.kernel.did); diff != "" {
			t.Errorf("done (-want +got):\n%s", diff)
		}
	})
}

// TestConfirmationNamesItsWish: what was overtaken is set, and the node can tell that it is not the newest.
func TestConfirmationNamesItsWish(t *testing.T) {
	for _, tt := range []struct {
		name    string
		newer   node.SetAddresses
		request uint64
		want    []string
	}{
		{"another wish", wish("web", time.Time{}, vip1, vip2), 2, []string{"AddressesSet{Instance:web Request:1}", "AddressesSet{Instance:web Request:2}"}},
		{"a renewal", wish("web", time.Now().Add(time.Hour), vip1), 1, []string{"AddressesSet{Instance:web Request:1}", "AddressesSet{Instance:web Request:1}"}},
		{"a release", wish("web", time.Time{}), 0, []string{"AddressesSet{Instance:web Request:1}"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSetting(t)
				s.kernel.slow = time.Second
				first := wish("web", time.Time{}, vip1)
				first.Request, tt.newer.Request = 1, tt.request
				s.set(first)
				synctest.Wait()
				s.set(tt.newer)
				s.drain(t.Context())
				s.end()
				if diff := cmp.Diff(tt.want, s.events); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestWhatWaitsAtTheEndIsStillDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t)
		s.kernel.slow = time.Second
		s.set(wish("web", time.Time{}, vip1))
		synctest.Wait()
		s.set(wish("web", time.Time{}))
		s.end()
		if diff := cmp.Diff([]string{"web on eth0: 192.0.2.10", "web on eth0: "}, s.kernel.did); diff != "" {
			t.Errorf("done (-want +got):\n%s", diff)
		}
	})
}

func TestListThatCannotBeWrittenIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t)
		s.kernel.notice = errors.New("note the held addresses: no space left on device")
		for range 3 {
			s.set(wish("web", time.Time{}, vip1))
			s.drain(t.Context())
		}
		s.kernel.notice = nil
		s.set(wish("web", time.Time{}, vip1))
		s.drain(t.Context())
		s.kernel.notice = errors.New("note the held addresses: no space left on device")
		s.set(wish("web", time.Time{}, vip1))
		s.drain(t.Context())
		s.end()
		if n := strings.Count(s.log.String(), "no space left on device"); n != 2 {
			t.Errorf("said %d times, want 2:\n%s", n, s.log.String())
		}
	})
}
