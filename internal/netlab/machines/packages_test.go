package machines

import (
	"testing"
)

// TestPackages tells what an administrator lives through with the packages, from the installation on: one pair, one story after
// another. Each begins and ends with the addresses on lb1.
func TestPackages(t *testing.T) {
	first := built(t)
	p := newPair(t)
	ok := t.Run("an unconfigured installation is quiet", func(t *testing.T) { installed(t, p, first) }) &&
		t.Run("the pair is configured and started", func(t *testing.T) { configured(t, p) })
	if !ok {
		return // nothing that follows would tell anything
	}
	for _, story := range []struct {
		name string
		tell func(*testing.T, *pair)
	}{
		{"manuals and completions are there", func(t *testing.T, p *pair) { documented(t, p.lb1) }},
		{"the unit is hardened", hardened},
		{"nginx is stopped and started", nginxStopped},
		{"nginx is restarted", nginxRestarted},
		{"nginx is upgraded", nginxUpgraded},
		{"nginx is restarted with a broken configuration", nginxBroken},
		{"nginx is killed", nginxKilled},
		{"nginx is killed while it is alone", nginxKilledAlone},
		{"the daemon is stopped and started", daemonStopped},
		{"the daemon is restarted", daemonRestarted},
		{"the daemon is killed", daemonKilled},
		{"the daemon is frozen", daemonFrozen},
		{"the daemon is reloaded", reloaded},
		{"the daemon is given real-time scheduling", realTime},
		{"the keys come from systemd", credentials},
		{"networkd is restarted", networkdRestarted},
		{"a host is powered off and on", poweredOff},
		{"a host is rebooted", rebootedHost},
		{"a drained host is rebooted", rebootedDrained},
		{"a host loses its power", powerLost},
		{"both hosts boot, in any order", bootOrder},
		{"the services start in any order", startOrder},
		{"hooks run as root", hookRights},
		{"a removed instance has its last hook run", lastHook},
		{"the nginx hook tests and reloads", nginxHook},
		{"checks run without rights", checkRights},
		{"the helper refuses what others can write", unsafeHook},
		{"the helper refuses strangers", strangers},
		{"a newer package is installed", func(t *testing.T, p *pair) { upgraded(t, p, first) }},
		{"a broken package is installed", func(t *testing.T, p *pair) { brokenUpgrade(t, p, first) }},
		{"a package is installed whose program dies", func(t *testing.T, p *pair) { upgradeThatDies(t, p, first) }},
		{"an older package is installed", func(t *testing.T, p *pair) { downgraded(t, p, first) }},
		{"the package is removed", func(t *testing.T, p *pair) { removed(t, p, first) }},
		{"the package is purged", func(t *testing.T, p *pair) { purged(t, p, first) }},
		{"the package is purged while a dead daemon's addresses are there", func(t *testing.T, p *pair) { purgedDead(t, p, first) }},
	} {
		ok := t.Run(story.name, func(t *testing.T) {
			story.tell(t, p)
			p.settled(t)
		})
		if !ok {
			p.restore(t)
			p.settled(t)
		}
	}
}
