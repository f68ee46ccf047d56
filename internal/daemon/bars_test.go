package daemon

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// barred is a daemon with two instances on eth0 and a kernel of its own.
func barred(kernel *fakeKernel) *Daemon {
	cfg := &config.Config{Node: "lb1", Instances: []node.Instance{
		{Name: "web", Interface: "eth0", VRID: 71, Addresses: []node.Address{{IP: vip1}}},
		{Name: "mail", Interface: "eth0", VRID: 72, Addresses: []node.Address{{IP: vip2}}},
	}}
	d := newDaemon(cfg, Options{Log: hclog.NewNullLogger()})
	d.addresses = newAddressSetter(kernel, d.post, d.log)
	d.addresses.lookAt, d.addresses.stands = d.lookAt, d.bars.stands
	return d
}

// TestBarsTellWhatStands: the node hears once of each address that something else has, and once that it has it no more, whichever way
// that was noticed.
func TestBarsTellWhatStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kernel := &fakeKernel{foreign: map[place]error{{"eth0", vip1}: errors.New("keepalived has it")}}
		d := barred(kernel)
		go func() { _ = d.addresses.run(t.Context()) }()
		heard := func(when string, want ...node.Barred) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, d.bars.news(d.cfg.Load())); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		d.inspect(t.Context(), "eth0")()
		heard("at the start", node.Barred{Instance: "web", Why: "keepalived has it"})
		d.inspect(t.Context(), "eth0")()
		heard("when nothing has changed")
		kernel.foreign[place{"eth0", vip2}] = errors.New("somebody set it")
		d.addresses.cameOn("eth0", vip2)
		heard("when another comes", node.Barred{Instance: "mail", Why: "somebody set it"})
		clear(kernel.foreign)
		d.addresses.lostOn("eth0", vip1, false)
		heard("when they are gone", node.Barred{Instance: "web"}, node.Barred{Instance: "mail"})
		if !d.addresses.rests() {
			t.Error("there is still something to do")
		}
	})
}

// TestBarsTellWhoRuns: an instance of which another daemon runs a virtual router is out, whatever is about its addresses, and with it go
// the addresses that only the tag shows to be ours.
func TestBarsTellWhoRuns(t *testing.T) {
	d := barred(&fakeKernel{})
	router := linux.Router{Interface: "eth0", VRID: 71}
	d.bars.take(router, "another runs it")
	if diff := cmp.Diff([]node.Barred{{Instance: "web", Why: "another runs it"}}, d.bars.news(d.cfg.Load())); diff != "" {
		t.Errorf("news (-want +got):\n%s", diff)
	}
	if !d.strange(linux.Held{IP: vip1}) || d.strange(linux.Held{IP: vip2}) {
		t.Error("what is swept is not what nobody runs")
	}
	d.bars.take(router, "")
	if diff := cmp.Diff([]node.Barred{{Instance: "web"}}, d.bars.news(d.cfg.Load())); diff != "" {
		t.Errorf("news (-want +got):\n%s", diff)
	}
}

// TestBarsOfAReload: what a reload takes out of the configuration is no news, and what another daemon runs of what it adds is, before the
// node knows the instance.
func TestBarsOfAReload(t *testing.T) {
	d := barred(&fakeKernel{})
	d.bars.take(linux.Router{Interface: "eth0", VRID: 71}, "another runs it")
	d.bars.take(linux.Router{Interface: "eth0", VRID: 73, IPv6: vrrp.FamilyOf(vip1) == vrrp.IPv6}, "another runs that")
	d.bars.news(d.cfg.Load())
	to := *d.cfg.Load()
	to.Instances = append([]node.Instance{{Name: "new", Interface: "eth0", VRID: 73, Addresses: []node.Address{{IP: vip1}}}}, to.Instances[1:]...)
	want := []node.Barred{{Instance: "new", Why: "another runs that"}}
	if diff := cmp.Diff(want, d.bars.news(&to)); diff != "" {
		t.Errorf("news (-want +got):\n%s", diff)
	}
}

// TestTwoDaemonsLock: two daemons in one network do not run the same virtual router, and the second runs it when the first has ended.
func TestTwoDaemonsLock(t *testing.T) {
	var first, second *Daemon
	for _, d := range []**Daemon{&first, &second} {
		*d = barred(&fakeKernel{})
		cfg := (*d).cfg.Load()
		for k := range cfg.Instances {
			cfg.Instances[k].Interface = "understudy-none" // nobody else's, in this network
		}
		t.Cleanup((*d).bars.close)
		if err := (*d).lockInstances(cfg); err != nil {
			t.Fatal(err)
		}
	}
	if news := first.bars.news(first.cfg.Load()); len(news) > 0 {
		t.Errorf("the first hears %v", news)
	}
	news := second.bars.news(second.cfg.Load())
	if len(news) != 2 || !strings.Contains(news[0].Why, "another understudy on this host (pid ") {
		t.Errorf("the second hears %v", news)
	}
	first.bars.close()
	second.relock()
	if diff := cmp.Diff([]node.Barred{{Instance: "web"}, {Instance: "mail"}}, second.bars.news(second.cfg.Load())); diff != "" {
		t.Errorf("when the first has ended (-want +got):\n%s", diff)
	}
}

// TestTwoDaemonsLockAddresses: an address that another daemon has in another virtual router is not this one's, as long as that one runs.
// What else the instance would need stays free for others meanwhile, and what lies on the host of it is this one's to remove.
func TestTwoDaemonsLockAddresses(t *testing.T) {
	on := func(name string, vrid uint8, ips ...netip.Addr) node.Instance {
		i := node.Instance{Name: name, Interface: "understudy-none", VRID: vrid}
		for _, ip := range ips {
			i.Addresses = append(i.Addresses, node.Address{IP: ip})
		}
		return i
	}
	lock := func(instances ...node.Instance) *Daemon {
		d := newDaemon(&config.Config{Node: "lb1", Instances: instances}, Options{Log: hclog.NewNullLogger()})
		t.Cleanup(d.bars.close)
		if err := d.lockInstances(d.cfg.Load()); err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := lock(on("web", 71, vip1))
	second := lock(on("other", 81, vip2, vip1)) // in another order
	if news := second.bars.news(second.cfg.Load()); len(news) != 1 || !strings.Contains(news[0].Why, `has address 192.0.2.10 on "understudy-none" in another virtual router`) {
		t.Errorf("the second hears %v", news)
	}
	if !second.strange(linux.Held{IP: vip1}) || second.strange(linux.Held{IP: vip2}) {
		t.Error("what is swept is not what nobody has")
	}
	third := lock(on("mail", 91, vip2))
	if news := third.bars.news(third.cfg.Load()); len(news) > 0 {
		t.Errorf("the third hears %v", news)
	}
	third.bars.close()
	first.bars.close()
	second.relock()
	if diff := cmp.Diff([]node.Barred{{Instance: "other"}}, second.bars.news(second.cfg.Load())); diff != "" {
		t.Errorf("when the others have ended (-want +got):\n%s", diff)
	}
	for _, x := range locksOf(&second.cfg.Load().Instances[0]) {
		if !second.bars.locks.Has(x) {
			t.Errorf("%s is not locked then", x)
		}
	}
}
