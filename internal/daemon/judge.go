package daemon

import (
	"net/netip"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// host is a machine as configurations are judged by it.
type host struct {
	look      func(interfaces []string, virtual func(netip.Addr) bool) ([]linux.Link, error)
	obstacles func([]linux.Macvlan) ([]error, error)
}

var thisHost = host{linux.Look, linux.Obstacles}

// Judge says which instances of a configuration would be in fault on this host as it is now, by their names, and why, in the words of
// the status. It goes the way of the daemon with a runtime directory, as far as that needs no rights and changes nothing: whether
// another daemon runs its virtual routers it does not look, since that one may be it.
func Judge(cfg *config.Config, runtimeDir string) (map[string]string, error) {
	d := newDaemon(cfg, Options{RuntimeDir: runtimeDir, Log: hclog.NewNullLogger()})
	links, err := thisHost.look(d.wanted(), d.virtual)
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		foreign, err := linux.Foreign(runtimeDir, d.wantsOn(l.Name)...)
		if err != nil {
			return nil, err
		}
		d.bars.found(l.Name, foreign)
	}
	return d.faults(cfg, links, thisHost)
}

// faults says which instances of a configuration would be in fault with interfaces that are so, by their names, and why.
func (d *Daemon) faults(cfg *config.Config, links []linux.Link, h host) (map[string]string, error) {
	now := time.Now()
	n := node.New(d.nodeConfig(cfg), now)
	for _, ev := range d.bars.news(cfg) {
		n.Step(now, ev)
	}
	for _, l := range links {
		link, err := d.attainable(linkOf(l), h)
		if err != nil {
			return nil, err
		}
		n.Step(now, node.LinkChanged{Link: link})
	}
	whys := map[string]string{}
	for _, i := range n.Status(now).Instances {
		if i.State == node.Fault {
			whys[i.Name] = i.Why
		}
	}
	return whys, nil
}

// attainable is a link with the virtual MAC addresses that it would have, as far as the settings and the devices of this host let it.
func (d *Daemon) attainable(l node.Link, h host) (node.Link, error) {
	l.VirtualMACs = d.imagined(l)
	if d.opts.Shadow {
		l.Swallowers = nil
		return l, nil
	}
	list := make([]linux.Macvlan, len(l.VirtualMACs))
	for k, v := range l.VirtualMACs {
		list[k] = macvlanOf("", l.Name, v.VRID, v.Family)
	}
	obstacles, err := h.obstacles(list)
	if err != nil {
		return l, err
	}
	for k, err := range obstacles {
		if v := &l.VirtualMACs[k]; err != nil && v.Reason == "" {
			v.Reason = err.Error()
		}
	}
	return l, nil
}
