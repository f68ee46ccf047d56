package node_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/internal/sim"
	"github.com/understudy-ha/understudy/vrrp"
)

// addHost reads "host NAME PRIORITY key=value ..". A key of another instance than web is written name.key, and makes an instance
// that is like web on its first mention; group=web,inside groups them as edge, group=NAME:web,inside under another name.
func (tr *tracer) addHost(args []string) error {
	if tr.c != nil {
		return fmt.Errorf("the cluster runs already")
	}
	if len(args) < 2 {
		return fmt.Errorf("want: host NAME PRIORITY [key=value ..]")
	}
	p, err := strconv.ParseUint(args[1], 10, 8)
	if err != nil {
		return err
	}
	i := node.Instance{
		Name: "web", Interface: "eth0", VRID: 51, Priority: uint8(p), Version: vrrp.V3, Addresses: addresses("192.0.2.10"),
		Interval: time.Second, DeadAdverts: 3, Preempt: true, Lease: true, Announce: node.Announcing{Refresh: time.Minute},
		Checks: map[string]node.Effect{}, MinTTL: vrrp.HopLimit,
	}
	cfg := node.Config{Name: args[0], Instances: []node.Instance{i}}
	for _, arg := range append(tr.all[:len(tr.all):len(tr.all)], args[2:]...) {
		if err := set(&cfg, arg); err != nil {
			return err
		}
	}
	tr.cfg.Hosts = append(tr.cfg.Hosts, cfg)
	return nil
}

// set sets one key of a host.
func set(cfg *node.Config, arg string) error {
	key, value, _ := strings.Cut(arg, "=")
	if key == "group" {
		cfg.Groups = groups(value)
		return nil
	}
	name, own, isNamed := strings.Cut(key, ".")
	if !isNamed {
		return configure(&cfg.Instances[0], key, value)
	}
	at := slices.IndexFunc(cfg.Instances, func(i node.Instance) bool { return i.Name == name })
	if own == "removed" {
		cfg.Instances = slices.Delete(cfg.Instances, at, at+1)
		return nil
	}
	if at < 0 {
		i := cfg.Instances[0]
		i.Name, i.Checks, i.Unadvertised = name, maps.Clone(i.Checks), nil
		cfg.Instances = append(cfg.Instances, i)
		at = len(cfg.Instances) - 1
	}
	return configure(&cfg.Instances[at], own, value)
}

// groups reads "web,inside" or "edge:web,inside"; nothing is no group.
func groups(value string) []node.Group {
	if value == "" {
		return nil
	}
	name, list, isNamed := strings.Cut(value, ":")
	if !isNamed {
		name, list = "edge", name
	}
	return []node.Group{{Name: name, Instances: strings.Split(list, ",")}}
}

// configure sets one key of an instance.
func configure(i *node.Instance, key, value string) (err error) {
	switch key {
	case "version":
		v, err := strconv.ParseUint(value, 10, 8)
		i.Version = vrrp.Version(v)
		return err
	case "priority":
		p, err := strconv.ParseUint(value, 10, 8)
		i.Priority = uint8(p)
		return err
	case "name":
		i.Name = value
	case "interface":
		i.Interface = value
	case "vrid":
		v, err := strconv.ParseUint(value, 10, 8)
		i.VRID = uint8(v)
		return err
	case "address":
		i.Addresses = addresses(value)
	case "unadvertised":
		i.Unadvertised = addresses(value)
	case "interval":
		i.Interval, err = time.ParseDuration(value)
	case "dead":
		i.DeadAdverts, err = strconv.Atoi(value)
	case "preempt":
		i.Preempt, err = strconv.ParseBool(value)
	case "preempt_delay":
		i.PreemptDelay, err = time.ParseDuration(value)
	case "link_delay":
		i.LinkDelay, err = time.ParseDuration(value)
	case "lease":
		i.Lease, err = strconv.ParseBool(value)
	case "mac": // mac=virtual
		i.VirtualMAC = value == "virtual"
	case "refresh":
		i.Announce.Refresh, err = time.ParseDuration(value)
	case "peers": // peers=10.0.0.1,10.0.0.2,lb3.example
		i.Peers = nil
		for text := range strings.SplitSeq(value, ",") {
			if ip, err := netip.ParseAddr(text); err == nil {
				i.Peers = append(i.Peers, node.Peer{IP: ip})
			} else if text != "" {
				i.Peers = append(i.Peers, node.Peer{Name: text})
			}
		}
	case "source":
		i.Sources = nil
		if value != "" {
			i.Sources = []netip.Addr{netip.MustParseAddr(value)}
		}
	case "pace":
		i.Announce.Interval, err = time.ParseDuration(value)
	case "auth": // auth=1,2/1/enforce: the keys, the one that signs, the mode; auth=none
		i.Auth, err = auth(value, i.Interval)
	case "check": // check=nginx:yield, nginx:release, nginx:-60
		name, effect, _ := strings.Cut(value, ":")
		e := node.Effect{}
		switch effect {
		case "yield":
		case "release":
			e.OnFailure = node.Release
		default:
			e.OnFailure = node.Weigh
			e.Weight, err = strconv.Atoi(effect)
		}
		i.Checks[name] = e
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return err
}

// auth reads keys, the active one and the mode. A key's secret follows from its number, and 1' has another one.
func auth(value string, interval time.Duration) (*vrrp.Auth, error) {
	if value == "none" {
		return nil, nil
	}
	parts := strings.Split(value, "/")
	if len(parts) != 3 {
		return nil, fmt.Errorf("want KEYS/ACTIVE/MODE, not %q", value)
	}
	a := &vrrp.Auth{Window: vrrp.DefaultWindow(interval)}
	for text := range strings.SplitSeq(parts[0], ",") {
		id, err := strconv.ParseUint(strings.TrimSuffix(text, "'"), 10, 8)
		if err != nil {
			return nil, err
		}
		a.Keys = append(a.Keys, vrrp.Key{ID: uint8(id), Secret: vrrp.NewSecret([]byte(strings.Repeat(text, vrrp.MinKeyLen)))})
	}
	active, err := strconv.ParseUint(parts[1], 10, 8)
	a.Active = uint8(active)
	var ok bool
	if a.Mode, ok = vrrp.ParseAuthMode(parts[2]); !ok {
		return nil, fmt.Errorf("no mode %q", parts[2])
	}
	return a, err
}

// addresses reads "192.0.2.10,2001:db8::10"; "192.0.2.10*70" is as many, one after the other.
func addresses(list string) []node.Address {
	var out []node.Address
	for text := range strings.SplitSeq(list, ",") {
		first, times, _ := strings.Cut(text, "*")
		n, _ := strconv.Atoi(times)
		ip := netip.MustParseAddr(first)
		for range max(n, 1) {
			out = append(out, node.Address{IP: ip})
			ip = ip.Next()
		}
	}
	return out
}

// freed has the kernel take an address again, and say that somebody else's is gone.
func freed(h *sim.Host, ip netip.Addr) {
	h.Refuse(ip, "")
	h.Feed(node.AddressLost{Interface: owner(h, ip).Interface, IP: ip})
}

// exchange has another process go on for a host after a time, or says why it cannot now.
func (tr *tracer) exchange(h *sim.Host, gap string) error {
	d, err := time.ParseDuration(gap)
	if err == nil && !h.Reexec(d) {
		tr.c.Note("%s is not exchanged: %s", h.Name, h.Unrest())
	}
	return err
}
