package config

import (
	"fmt"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/checks"
)

// rawControl, rawReload, rawLog and rawAnnounce mirror their blocks.
type (
	rawControl struct {
		SteerGroup string `hcl:"steer_group,optional" doc:"A group that may drain, undrain and reload, beside root."`
	}
	rawReload struct {
		Watch bool `hcl:"watch,optional" default:"true" doc:"Whether the daemon reloads by itself when a configuration file changes."`
	}
	rawLog struct {
		Level  string `hcl:"level,optional" default:"info" doc:"The least level that is logged."`
		Format string `hcl:"format,optional" default:"text" doc:"\"text\" or \"json\"."`
	}
	rawAnnounce struct {
		Refresh  time.Duration `hcl:"refresh,optional" default:"60s" doc:"The time from one announcement of an address to the next; \"0s\": none after the first ones."`
		Interval time.Duration `hcl:"interval,optional" default:"0s" doc:"The least time between two frames."`
	}
)

// settings decodes the blocks that exist once, or not at all.
func (l *loader) settings(c *Config, blocks hcl.Blocks) {
	var (
		control rawControl
		reload  rawReload
		log     rawLog
	)
	for _, raw := range []any{&reload, &log} {
		checks.SetDefaults(raw)
	}
	if b := l.single(blocks, "control"); b != nil {
		l.decode(b, "control", nil, &control)
	}
	if b := l.single(blocks, "reload"); b != nil {
		l.decode(b, "reload", nil, &reload)
	}
	if b := l.single(blocks, "log"); b != nil {
		d := l.decode(b, "log", nil, &log)
		if d.usable("level") {
			l.oneOf(d, "level", log.Level, logLevels)
		}
		if d.usable("format") {
			l.oneOf(d, "format", log.Format, logFormats)
		}
	}
	c.Control, c.Reload, c.Log = Control(control), Reload(reload), Log(log)
}

// single returns the only block of a type, or nil.
func (l *loader) single(blocks hcl.Blocks, kind string) *hcl.Block {
	var first *hcl.Block
	for _, b := range blocks.OfType(kind) {
		if first != nil {
			l.found.errorf(headerOf(b), "it is already at "+placeOf(headerOf(first)), "%s is written twice", kind)
			continue
		}
		first = b
	}
	return first
}

// announce decodes the instance's announce block.
func (l *loader) announce(in *instance, title string) {
	var raw rawAnnounce
	checks.SetDefaults(&raw)
	if b := l.single(in.block.nested, "announce"); b != nil {
		d := l.decode(b, fmt.Sprintf("announce of %s", title), nil, &raw)
		if raw.Refresh != 0 {
			l.between(d, "refresh", raw.Refresh, minRefresh, maxDelay)
		}
		l.between(d, "interval", raw.Interval, 0, maxPacing)
	}
	in.Announce.Refresh, in.Announce.Interval = raw.Refresh, raw.Interval
}
