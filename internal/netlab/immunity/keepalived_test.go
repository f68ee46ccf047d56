package immunity

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/vrrp"
)

const (
	// trickle is how many packets a second each virtual router is sent, and trickles how long: keepalived's backup waits for 722 ms.
	trickle, trickles = 50, 1300 * time.Millisecond
	// tries bounds how often that is done where the outcome is another one: a flooder that stands still lets a master speak.
	tries = 4
	// passwordVRID is keepalived's instance of VRRPv2 with a password, whose backup waits for passwordDown.
	passwordVRID = 94
	passwordDown = 3*time.Second + time.Second*156/256
)

// theirWays are the ways of keepalived's instances; it has no keys.
var theirWays = []way{
	{name: "IPv4 multicast", family: vrrp.IPv4, vrid: 91},
	{name: "IPv6 multicast", family: vrrp.IPv6, vrid: 92},
	{name: "IPv4 unicast", family: vrrp.IPv4, vrid: 93, unicast: true},
}

// outcome is what becomes of a master of keepalived 2.2.7.
type outcome string

const (
	muted    outcome = "is silent, and its backup is master too"
	deposed  outcome = "is no longer master"
	unharmed outcome = "advertises as before"
)

// like says whether both are harm, or none. Which harm it is hangs on the instant: a master that is deposed while its backup has just
// risen looks like one that is muted.
func (o outcome) like(other outcome) bool {
	return o == other || o != "" && other != "" && o != unharmed && other != unharmed
}

// trifle is one sort of packets that nobody should take for a peer's advert.
type trifle struct {
	name string
	make func(s scene) maker
	// what becomes of keepalived's master, by its way; where nothing is written there is no such packet.
	outcomes map[string]outcome
}

// trifles are packets of each kind that does something to keepalived, and of those that do not. What does is what this test found:
// all that has the VRID in its place and comes to the socket. Of IPv6 the kernel drops wrong checksums, and unicast has no TTL.
var trifles = []trifle{
	{"a wrong checksum", but(forged.damaged), outcomes(muted, unharmed, muted)},
	{"a version that does not exist", summed(func(p forged) forged { return p.set(0, 0x41) }), outcomes(muted, muted, muted)},
	{"the other version", func(s scene) maker { return s.plain(vrrp.V2, 255) }, outcomes(muted, "", muted)},
	{"no advert", summed(func(p forged) forged { return p.set(0, 0x32) }), outcomes(muted, muted, muted)},
	{"TTL 254", but(func(p forged) forged { return p.hops(254) }), outcomes(muted, muted, deposed)},
	{"truncated behind the header", summed(func(p forged) forged { return p.cut(10) }), outcomes(muted, muted, muted)},
	{"truncated in the header", but(func(p forged) forged { return p.cut(7) }), outcomes(unharmed, unharmed, unharmed)},
	{"addresses that are not there", summed(func(p forged) forged { return p.set(3, 5) }), outcomes(muted, muted, muted)},
	{"signed with an unknown key", func(s scene) maker {
		return func(source netip.Addr, to end) forged {
			return advert(vrrp.V3, s.vrid, 255, source, to, signer(1, key))
		}
	}, outcomes(muted, muted, muted)},
}

// outcomes are those of theirWays.
func outcomes(list ...outcome) map[string]outcome {
	m := map[string]outcome{}
	for n, o := range list {
		if o != "" {
			m[theirWays[n].name] = o
		}
	}
	return m
}

// but changes an advert that beats every other, and leaves its checksum; summed puts a right one into it.
func but(change func(forged) forged) func(scene) maker {
	return func(s scene) maker { return s.best().but(change) }
}

func summed(change func(forged) forged) func(scene) maker {
	return but(func(p forged) forged { return change(p).summed() })
}

// TestKeepalivedIsMuted tells of two pairs, of understudy and of keepalived 2.2.7, and a stranger who sends the virtual routers of
// both a few packets a second that are no adverts. Whatever comes for its VRID, keepalived's master begins its interval anew, so that
// it never ends: it falls silent, and its backup takes the address too. understudy's masters keep their beat.
func TestKeepalivedIsMuted(t *testing.T) {
	f := newField(t, ways)
	r := newRival(t, f.c)
	begin := time.Now()
	password := r.misled(t, f.evil)
	for _, tr := range trifles {
		t.Run(tr.name, func(t *testing.T) {
			var got map[string]outcome
			for range tries {
				got = r.suffers(t, f, tr)
				if !slices.ContainsFunc(theirWays, func(w way) bool { return !got[w.name].like(tr.outcomes[w.name]) }) {
					break
				}
			}
			for _, w := range theirWays {
				if !got[w.name].like(tr.outcomes[w.name]) {
					t.Errorf("%s: keepalived's master %s, want: %s", w.name, got[w.name], tr.outcomes[w.name])
				} else if got[w.name] != "" {
					t.Logf("%s: keepalived's master %s", w.name, got[w.name])
				}
			}
		})
	}
	t.Run("the wrong password", password)
	f.unmoved(t, begin)
}

// rival is a pair with keepalived: ka1, which is master of everything, and ka2.
type rival struct {
	ka1, ka2       *netlab.Host
	master, backup *voice
}

func newRival(t *testing.T, c *pairtest.Cluster) *rival {
	t.Helper()
	addresses := []string{"10.0.0.21", "10.0.0.22"}
	r := &rival{
		ka1: labtest.Host(t, c.Lab, "ka1", addresses[0]+"/24", "fd00::21/64"),
		ka2: labtest.Host(t, c.Lab, "ka2", addresses[1]+"/24", "fd00::22/64"),
	}
	r.master, r.backup = watch(t, r.ka1), watch(t, r.ka2)
	for n, h := range []*netlab.Host{r.ka1, r.ka2} {
		priority := []int{150, 100}[n]
		var config strings.Builder
		for _, w := range theirWays {
			more := ""
			if w.unicast {
				more = fmt.Sprintf("unicast_src_ip %s\nunicast_peer {\n%s\n}", addresses[n], addresses[1-n])
			}
			config.WriteString(theirs(w.family, w.vrid, 3, priority, interval, more))
		}
		config.WriteString(theirs(vrrp.IPv4, passwordVRID, 2, priority, time.Second, "authentication {\nauth_type PASS\nauth_pass right\n}"))
		pairtest.StartKeepalived(t, h, config.String())
	}
	r.settled(t, append([]way{{name: "VRRPv2", family: vrrp.IPv4, vrid: passwordVRID}}, theirWays...)...)
	return r
}

// theirs is keepalived's configuration of one instance.
func theirs(f vrrp.Family, vrid uint8, version, priority int, every time.Duration, more string) string {
	return fmt.Sprintf(`
vrrp_instance web%d {
	interface %s
	state BACKUP
	version %d
	virtual_router_id %[1]d
	priority %[4]d
	advert_int %[5]v
	virtual_ipaddress {
		%[6]s
	}
	%[7]s
}
`, vrid, netlab.Interface, version, priority, every.Seconds(), vip(f, vrid), more)
}

// settled waits until ka1 alone is master, and says so again.
func (r *rival) settled(t *testing.T, ways ...way) {
	t.Helper()
	from := time.Now()
	for _, w := range ways {
		next(t, r.master, w.vrid, from, settleBound)
		for h, want := range map[*netlab.Host]bool{r.ka1: true, r.ka2: false} {
			labtest.Eventually(t, settleBound, func() (bool, string) {
				held, err := h.Holds(vip(w.family, w.vrid))
				return err == nil && held == want, fmt.Sprintf("%s has the address of %s: %t, want %t; %v", h.Name(), w.name, held, want, err)
			})
		}
	}
}

// suffers sends a trifle to the virtual routers of both pairs, and returns what became of keepalived's masters.
func (r *rival) suffers(t *testing.T, f *field, tr trifle) map[string]outcome {
	t.Helper()
	scenes := []scene{}
	for _, w := range ways {
		if !w.old { // to which the other version is its own
			scenes = append(scenes, f.scene(t, w))
		}
	}
	for _, w := range theirWays {
		scenes = append(scenes, scene{w, w.end(t, f.evil), w.end(t, r.ka1), w.end(t, r.ka2)})
	}
	var frames [][]byte
	for _, s := range scenes {
		if s.family == vrrp.IPv6 && tr.outcomes["IPv6 multicast"] == "" {
			continue
		}
		senders, targets := []end{s.stranger}, s.targets()
		if s.unicast { // keepalived does not ask who sends; understudy does
			senders, targets = []end{s.lb2}, []end{s.lb1}
		}
		frames = append(frames, from(senders, targets, tr.make(s))(t)...)
	}
	begin := time.Now()
	startFlood(t, f.evil, trickle*len(frames), trickles, frames).end(t)
	now := time.Now()
	master, backup, got := r.master.adverts(), r.backup.adverts(), map[string]outcome{}
	for _, w := range theirWays {
		if tr.outcomes[w.name] == "" {
			continue
		}
		holds, err := r.ka1.Holds(vip(w.family, w.vrid))
		if err != nil {
			t.Fatal(err)
		}
		// The flooder has to start, and an advert may be due. And when the backup has taken over, the master answers it.
		silence, taken := begin.Add(2*interval), now
		if n := slices.IndexFunc(backup[w.vrid], begin.Before); n >= 0 {
			taken = backup[w.vrid][n]
		}
		switch heard := between(master[w.vrid], silence, taken); {
		case !holds:
			got[w.name] = deposed
		case heard == 0 && taken.Before(now):
			got[w.name] = muted
		case heard > 0 && taken.Equal(now):
			got[w.name] = unharmed
		}
	}
	r.settled(t, theirWays...)
	return got
}

// misled begins to send keepalived's instance with a password adverts with another one, which takes a while. What it returns looks
// what became of its master, and ends it.
func (r *rival) misled(t *testing.T, evil *netlab.Host) func(*testing.T) {
	t.Helper()
	password, err := vrrp.NewPassword("wrong")
	if err != nil {
		t.Fatal(err)
	}
	w := way{family: vrrp.IPv4, vrid: passwordVRID}
	packet := advert(vrrp.V2, passwordVRID, 255, w.end(t, evil).ip, group(vrrp.IPv4), &vrrp.Auth{Password: password})
	begin := time.Now()
	wave := startFlood(t, evil, trickle, settleBound, [][]byte{packet.frame()})
	return func(t *testing.T) {
		taken := next(t, r.backup, passwordVRID, begin, passwordDown+pairtest.Noise)
		if heard := between(r.master.adverts()[passwordVRID], begin.Add(2*interval), taken); heard > 0 {
			t.Errorf("keepalived's master advertised %d times before its backup took the address", heard)
		}
		t.Logf("keepalived's backup took the address after %s", taken.Sub(begin))
		if err := wave.proc.Kill(); err != nil {
			t.Fatal(err)
		}
	}
}

// between counts the instants between two others.
func between(at []time.Time, from, to time.Time) (n int) {
	for _, a := range at {
		if a.After(from) && a.Before(to) {
			n++
		}
	}
	return n
}
