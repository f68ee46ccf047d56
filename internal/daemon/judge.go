package daemon

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// Judge says which instances of a configuration would be in fault on this host as it is now, by their names, and why, in the words of
// the status. It goes the way of the daemon with a runtime directory, as far as that needs no rights and changes nothing: whether
// another daemon runs its virtual routers it does not look, since that one may be it.
func Judge(cfg *config.Config, runtimeDir string) (map[string]string, error) {
	d := newDaemon(cfg, Options{RuntimeDir: runtimeDir, Log: hclog.NewNullLogger()})
	links, err := linux.Look(d.wanted(), d.virtual)
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
	now := time.Now()
	n := node.New(d.nodeConfig(cfg), now)
	for _, ev := range d.bars.news(cfg) {
		n.Step(now, ev)
	}
	for _, l := range links {
		link := linkOf(l)
		link.VirtualMACs = d.attainable(link)
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

// attainable are the virtual MAC addresses of an interface, as far as the settings of this host let it have them.
func (d *Daemon) attainable(l node.Link) []node.VirtualMAC {
	list := d.imagined(l)
	for k := range list {
		v := &list[k]
		m := macvlanOf("", l.Name, v.VRID, v.Family)
		if err := m.Obstacle(); err != nil && v.Reason == "" {
			v.Reason = err.Error()
		}
	}
	return list
}
