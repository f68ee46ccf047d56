package node_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/internal/sim"
	"github.com/understudy-ha/understudy/vrrp"
	"github.com/understudy-ha/understudy/vrrp/tracetest"
)

// tracer runs the commands of a script on one cluster.
type tracer struct {
	cfg     sim.Config
	all     []string // the keys of every host
	c       *sim.Cluster
	printed int                  // lines of the cluster's trace that were printed
	caught  map[string]node.Send // the last advert of each host and priority
	out     []string
	beside  map[string]string // shadow -> the host that it runs on
}

func newTracer() tracetest.Tracer {
	ms := time.Millisecond
	return &tracer{cfg: sim.Config{
		Seed: 1, Trace: true, Kernel: ms, Network: sim.Network{MinDelay: ms / 2, MaxDelay: ms / 2},
	}}
}

// cluster makes the cluster when the first command needs it.
func (tr *tracer) cluster() *sim.Cluster {
	if tr.c == nil {
		tr.c = sim.New(tr.cfg)
		tr.caught = map[string]node.Send{}
		tr.c.Observe = func(h *sim.Host, ev node.Event, actions []node.Action) {
			tr.catch(h, ev, actions)
			tr.overhear(h, actions)
		}
		tr.besides()
	}
	return tr.c
}

// catch keeps what somebody on the link could play again.
func (tr *tracer) catch(h *sim.Host, _ node.Event, actions []node.Action) {
	for _, a := range actions {
		if s, ok := a.(node.Send); ok {
			tr.caught[fmt.Sprintf("%s %d", h.Name, s.Payload[2])] = s
		}
	}
}

// replay plays a host's last advert of a priority to another one.
func (tr *tracer) replay(to *sim.Host, args []string) error {
	s, ok := tr.caught[strings.Join(args, " ")]
	if !ok {
		return fmt.Errorf("no advert of %q was caught", args)
	}
	r, err := vrrp.Parse(s.Payload, s.Source, s.Destination, vrrp.HopLimit)
	if err != nil {
		return err
	}
	to.Feed(node.Heard{Interface: sim.Interface, Received: r})
	return nil
}

// Command runs one line of a script.
func (tr *tracer) Command(line string) error {
	name, rest, _ := strings.Cut(line, " ")
	args := strings.Fields(rest)
	switch name {
	case "all": // all interval=10ms: keys for every host that follows
		tr.all = append(tr.all, args...)
		return nil
	case "shadow": // shadow s a 150: a shadow beside host a
		return tr.addShadow(args)
	case "host": // host a 150 preempt=false check=nginx:yield
		return tr.addHost(args)
	case "kernel": // kernel 50ms: how long the kernel needs for addresses
		d, err := time.ParseDuration(rest)
		tr.cfg.Kernel = d
		return err
	case "run": // run 1.5s
		d, err := time.ParseDuration(rest)
		tr.cluster().Run(d)
		return err
	case "adverts": // every advert is printed from here on
		tr.cluster().Adverts = true
		return nil
	case "heal":
		tr.cluster().Heal()
		tr.besides()
		return nil
	case "cut": // cut a b ipv6 eth1: from a to b; * is every host; everything if nothing is named, and on every link
		return tr.cut(args)
	case "owners": // who had the addresses so far
		tr.cluster()
		for _, line := range tr.c.DescribeOwners(tr.c.Now().Add(-tr.c.Since())) {
			tr.printf("%s", line)
		}
		return nil
	default:
		return tr.hostCommand(name, args)
	}
}

// cut stops traffic.
func (tr *tracer) cut(args []string) error {
	cut := sim.Cut{What: sim.Everything}
	args = slices.DeleteFunc(args, func(arg string) bool {
		isLink := strings.HasPrefix(arg, "eth")
		if isLink {
			cut.Link = arg
		}
		return isLink
	})
	if len(args) < 2 {
		return fmt.Errorf("want: cut FROM TO [ipv4|ipv6|announcements] [LINK]")
	}
	for k, to := range []*string{&cut.From, &cut.To} {
		if args[k] == "*" {
			continue
		}
		if tr.cluster().Host(args[k]) == nil {
			return fmt.Errorf("no host %q", args[k])
		}
		*to = args[k]
	}
	if len(args) > 2 {
		cut.What = sim.Traffic(args[2])
	}
	tr.cluster().Cut(cut)
	return nil
}

// hostCommand runs the commands that name a host first.
func (tr *tracer) hostCommand(name string, args []string) error {
	if len(args) == 0 {
		if name != "start" {
			return fmt.Errorf("unknown command %q", name)
		}
		for _, h := range tr.cluster().Hosts() {
			h.Start()
		}
		return nil
	}
	h := tr.cluster().Host(args[0])
	if h == nil {
		return fmt.Errorf("no host %q", args[0])
	}
	rest := strings.Join(args[1:], " ")
	switch name {
	case "start":
		h.Start()
	case "kill": // the process dies
		h.Kill()
	case "cleanup": // what runs after a process that died
		h.Cleanup()
	case "crash": // the whole host dies
		h.Crash()
	case "pause":
		h.Pause()
	case "resume":
		h.Resume()
	case "freeze": // its hypervisor stops the host, which its clocks do not see; what is sent to it meanwhile is lost
		h.Freeze(true)
	case "thaw":
		h.Thaw(sim.Hidden)
	case "drain": // drain a [who]
		h.Feed(node.Drain{Who: cmp.Or(rest, "admin"), On: true})
	case "undrain":
		h.Feed(node.Drain{Who: cmp.Or(rest, "admin")})
	case "stop":
		h.Feed(node.Stop{})
	case "lag": // lag a 3s: it performs everything that late
		d, err := time.ParseDuration(rest)
		h.Lag = d
		return err
	case "firewall": // firewall a WHY: its adverts do not leave it; firewall a: they do again; firewall a eth1 WHY: only there
		h.Walled, rest = onLink(rest)
		h.Firewall = rest
	case "clock": // clock a -3s: what it shows beside the others', before its start
		d, err := time.ParseDuration(rest)
		h.SetClock(0, d)
		return err
	case "set": // set a -8s: NTP or a person sets its wall clock, to what it then shows beside the others'; no timer notices
		d, err := time.ParseDuration(rest)
		h.SetWall(d)
		return err
	case "woke": // woke a 5s: the host was suspended, and the monotonic clock did not count it
		d, err := time.ParseDuration(rest)
		h.Feed(node.Woke{Gap: d})
		return err
	case "barred": // barred a web WHY: something else on its host stands in the instance's way; barred a web: nothing any more
		instance, why, _ := strings.Cut(rest, " ")
		h.Feed(node.Barred{Instance: instance, Why: why})
	case "adopt": // a dead daemon of this host still holds the addresses of web, or of the instance named
		h.Feed(node.Adopt{Instance: cmp.Or(rest, "web")})
	case "exchange": // exchange a 80ms: another process goes on for it after that time
		return tr.exchange(h, rest)
	case "status":
		tr.status(h)
	case "reload": // reload a priority=50 address=..: a configuration with other keys; "reload a nothing" has no instance
		return reload(h, args[1:])
	default:
		return tr.detailCommand(name, h, args[1:])
	}
	return nil
}

// detailCommand runs the commands with arguments of their own.
func (tr *tracer) detailCommand(name string, h *sim.Host, args []string) error {
	switch name {
	case "check": // check a nginx ok | fail REASON | unseen | silent
		return check(h, args)
	case "link": // link a up | down | gone | unaddressed | mac=02:.. | source=10.0.0.9 | own=2001:db8::9; link a eth1 down
		return link(h, strings.Join(args, " "))
	case "replay": // replay b a 0: b hears a's last advert of priority 0 again
		return tr.replay(h, args)
	case "resolve": // resolve a lb2.example 10.0.0.2,10.0.0.3 fails IPv6: timeout
		return resolve(h, args)
	case "heard": // heard b 100 from 10.0.0.9 interval=2s mac=02:..:99:08 eth1: an advert of a host outside the cluster
		return tr.heard(h, args)
	case "delete", "allow", "refuse", "freed", "announced", "failed":
	default:
		return fmt.Errorf("unknown command %q", name)
	}
	if len(args) == 0 {
		return fmt.Errorf("want: %s HOST ADDRESS", name)
	}
	ip, err := netip.ParseAddr(args[0])
	if err != nil {
		return err
	}
	rest := strings.Join(args[1:], " ")
	switch name {
	case "delete": // something else deletes an address
		h.Delete(ip)
	case "refuse": // refuse a 192.0.2.10 WHY: the kernel will not set it
		h.Refuse(ip, rest)
	case "allow":
		h.Refuse(ip, "")
	case "freed": // what was in the way of an address is gone, and the kernel tells
		freed(h, ip)
	case "failed": // failed a 192.0.2.10 WHY: setting it again did not work
		h.Feed(node.AddressFailed{Instance: owner(h, ip).Name, IP: ip, Err: fmt.Errorf("%s", rest)})
	case "announced": // announced a 192.0.2.10 02:..:99: some MAC announces or answers
		h.Feed(node.Announced{Interface: owner(h, ip).Interface, IP: ip, MAC: rest})
	}
	return nil
}

// owner is the instance of an address; the first where no instance has it.
func owner(h *sim.Host, ip netip.Addr) node.Instance {
	instances := h.Config().Instances
	for _, i := range instances {
		if slices.ContainsFunc(append(i.Addresses, i.Unadvertised...), func(a node.Address) bool { return a.IP == ip }) {
			return i
		}
	}
	return instances[0]
}

// onLink parts an interface's name from the rest of a command.
func onLink(rest string) (link, other string) {
	if !strings.HasPrefix(rest, "eth") {
		return "", rest
	}
	link, other, _ = strings.Cut(rest, " ")
	return link, other
}

// reload changes the configuration of a host.
func reload(h *sim.Host, args []string) error {
	cfg := h.Config()
	if len(args) == 1 && args[0] == "nothing" {
		cfg.Instances, cfg.Groups = nil, nil
		h.Reconfigure(cfg)
		return nil
	}
	cfg.Instances = slices.Clone(cfg.Instances)
	for k := range cfg.Instances {
		cfg.Instances[k].Checks = maps.Clone(cfg.Instances[k].Checks)
	}
	for _, arg := range args {
		if err := set(&cfg, arg); err != nil {
			return err
		}
	}
	h.Reconfigure(cfg)
	return nil
}

// check sets a verdict.
func check(h *sim.Host, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("want: check HOST CHECK ok|fail|unseen|silent")
	}
	has := func(i node.Instance) bool { _, ok := i.Checks[args[0]]; return ok }
	if !slices.Contains(h.Config().Checks, args[0]) && !slices.ContainsFunc(h.Config().Instances, has) {
		return fmt.Errorf("host %q has no check %q", h.Name, args[0])
	}
	switch args[1] {
	case "ok":
		h.SetCheck(args[0], &sim.Verdict{Healthy: true})
	case "fail":
		h.SetCheck(args[0], &sim.Verdict{Reason: cmp.Or(strings.Join(args[2:], " "), "connection refused")})
	case "unseen": // it fails, and did not look yet
		h.Spoil(args[0], &sim.Verdict{Reason: "read error"})
	case "silent":
		h.SetCheck(args[0], nil)
	default:
		return fmt.Errorf("no verdict %q", args[1])
	}
	return nil
}

// link changes what is known of a host's interface.
func link(h *sim.Host, how string) error {
	name, how := onLink(how)
	l := h.LinkOn(cmp.Or(name, sim.Interface))
	if l.Name == "" {
		return fmt.Errorf("host %q has no interface %q", h.Name, name)
	}
	switch how {
	case "up":
		l.Up, l.Reason = true, ""
	case "down":
		l.Up, l.Reason = false, fmt.Sprintf("interface %q has no carrier", l.Name)
	case "gone":
		l.Up, l.Reason = false, fmt.Sprintf("interface %q does not exist", l.Name)
	case "unaddressed":
		l.Source4, l.Source6 = netip.Addr{}, netip.Addr{}
	case "addressed":
		l.Source4, l.Source6 = netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fe80::9")
	case "remade": // the devices of virtual MACs
		h.Remake()
		return nil
	default:
		key, value, _ := strings.Cut(how, "=")
		switch key {
		case "mac":
			l.MAC = value
		case "swallowed": // by a device with this MAC address
			l.Swallowers = nil
			if value != "" {
				l.Swallowers = []node.Swallower{{Device: "vrrp.71", MAC: value}}
			}
		case "own": // own=10.0.0.8,2001:db8::8: beside the first ones
			l.Own = nil
			for _, a := range addresses(value) {
				l.Own = append(l.Own, a.IP)
			}
		case "source":
			l.Source4 = netip.MustParseAddr(value)
		case "source6": // nothing: it has none
			l.Source6, _ = netip.ParseAddr(value)
		default:
			return fmt.Errorf("no link state %q", how)
		}
	}
	h.SetLink(l)
	return nil
}

// received is an advert as it arrives from the link.
func received(a vrrp.Advert, from netip.Addr) vrrp.Received {
	return vrrp.Received{Advert: a, From: from, To: vrrp.FamilyOf(from).Group(), HopLimit: vrrp.HopLimit}
}

// heard feeds an advert of a host that is not part of the cluster.
func (tr *tracer) heard(h *sim.Host, args []string) error {
	if len(args) < 3 || args[1] != "from" {
		return fmt.Errorf("want: heard HOST PRIORITY from ADDRESS [interval=1s] [to=ADDRESS] [mac=MAC]")
	}
	var p uint8
	if _, err := fmt.Sscan(args[0], &p); err != nil {
		return err
	}
	from, err := netip.ParseAddr(args[2])
	if err != nil {
		return err
	}
	cfg := h.Config().Instances[0]
	for _, i := range h.Config().Instances {
		if args[len(args)-1] == i.Interface {
			cfg, args = i, args[:len(args)-1]
			break
		}
	}
	a := vrrp.Advert{Version: cfg.Version, VRID: cfg.VRID, Priority: p, Interval: cfg.Interval}
	to := vrrp.FamilyOf(from).Group()
	mac := "02:00:00:00:99:09"
	for _, arg := range args[3:] {
		if text, ok := strings.CutPrefix(arg, "to="); ok {
			to = netip.MustParseAddr(text)
		} else if text, ok := strings.CutPrefix(arg, "mac="); ok {
			mac = text
		} else if a.Interval, err = time.ParseDuration(strings.TrimPrefix(arg, "interval=")); err != nil {
			return err
		}
	}
	for _, w := range cfg.Addresses {
		if vrrp.FamilyOf(w.IP) == vrrp.FamilyOf(from) {
			a.Addresses = append(a.Addresses, w.IP)
		}
	}
	r := received(a, from)
	r.To = to
	h.Feed(node.Seen{Interface: cfg.Interface, From: from, MAC: mac, VRID: cfg.VRID})
	h.Feed(node.Heard{Interface: cfg.Interface, Received: r})
	return nil
}

// resolve tells what was found about a peer's name.
func resolve(h *sim.Host, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("want: resolve HOST NAME [ADDRESSES] [fails WHY]")
	}
	ev, found := node.Resolved{Name: args[0]}, args[1:]
	if k := slices.Index(found, "fails"); k >= 0 {
		ev.Err = fmt.Errorf("%s", strings.Join(found[k+1:], " "))
		found = found[:k]
	}
	for _, list := range found {
		for text := range strings.SplitSeq(list, ",") {
			ev.Addresses = append(ev.Addresses, netip.MustParseAddr(text))
		}
	}
	h.Feed(ev)
	return nil
}

// status prints what an operator would see.
func (tr *tracer) status(h *sim.Host) {
	s := h.Status()
	if s == nil {
		tr.printf("%s: no process", h.Name)
		return
	}
	for _, g := range s.Groups {
		tr.printf("%s: group %s of %s: %s, priority %d: %s", h.Name, g.Name, strings.Join(g.Instances, " and "), g.State, g.Priority, g.Why)
		for _, where := range g.Waiting {
			tr.printf("  waits: %s", where)
		}
	}
	for _, i := range s.Instances {
		name := h.Name
		if len(s.Instances) > 1 {
			name += " (" + i.Name + ")"
		}
		terms := make([]string, len(i.Terms))
		for k, t := range i.Terms {
			terms[k] = fmt.Sprintf("%s %+d", t.What, t.Value)
		}
		tr.printf("%s: %s, priority %d (%s), holding %t, confirmed %t: %s", name, i.State, i.Priority, strings.Join(terms, ", "), i.Holding, i.Confirmed, i.Why)
		for _, why := range i.Unhealthy {
			tr.printf("  unhealthy: %s", why)
		}
		if to := i.LetGo.To; !i.Holding && !i.LetGo.At.IsZero() {
			tr.printf("  let go at %s: %s", i.LetGo.At.Sub(tr.c.Now().Add(-tr.c.Since())), cmp.Or(to, "nobody had taken over"))
		}
		if c := i.Contention; c != nil {
			refused := ""
			if c.Refused.IsValid() {
				refused = fmt.Sprintf("; refused %s: %s", c.Refused, c.Why)
			}
			tr.printf("  contention: %s priority %d, %s %s%s", c.Advertiser, c.Priority, c.IP, c.MAC, refused)
		}
		if i.TwoMasters != "" {
			tr.printf("  two masters: %s", i.TwoMasters)
		}
		if i.Unheeded != "" && i.TwoMasters == "" {
			tr.printf("  unheeded: %s", i.Unheeded)
		}
		if i.Clash != "" {
			tr.printf("  clash: %s", i.Clash)
		}
		if c := i.Compared; c != nil {
			tr.printf("  agrees %t since %s: %s", c.Agrees, c.Since.Sub(tr.c.Now().Add(-tr.c.Since())), c.Why)
		}
		for _, r := range i.Routers {
			tr.printf("  %s: %s, last heard %s priority %d%s", r.Family, r.State, r.Peer, r.PeerPrio, prefixed("; its own wait is over: ", r.Waiting))
			if a := r.Auth; a != nil {
				tr.printf("    %s, key %d of %v; accepted %d signed, %d unsigned%s", a.Mode, a.Active, a.Keys, r.Counters.Signed, r.Counters.Unsigned, signers(r))
			}
			tr.peers(r)
			if o := r.Own; o != nil {
				tr.printf("    this host's own: priority %d, differs %q", o.Priority, o.Differs)
			}
		}
	}
}
