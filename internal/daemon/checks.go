package daemon

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// checked takes one run of a check: the node hears of verdicts, of new reasons and of what it asked for, the log of verdicts.
func (d *Daemon) checked(r checks.Result) {
	before, known := d.monitors.results.Swap(r.Check, r)
	log := d.log.Named("check").With("check", r.Check)
	if r.Changed && r.Healthy {
		log.Info("healthy", "why", r.Reason)
	} else if r.Changed {
		about := []any{"why", r.Reason}
		if hint := d.nonlocalHint(r); hint != "" {
			about = append(about, "hint", hint)
		}
		log.Warn("unhealthy", about...)
	}
	old, _ := before.(checks.Result)
	if !known || old.Warning != r.Warning && r.Warning != "" {
		if r.Warning != "" {
			log.Warn("the check does less than it could", "why", r.Warning)
		}
	}
	if r.Changed || !r.Healthy && old.Reason != r.Reason { // a thousand checks may fail every second, for one reason
		d.post(context.Background(), node.CheckChanged{Check: r.Check, Healthy: r.Healthy, Reason: r.Reason})
	}
	if d.monitors.answers(r) {
		d.post(context.Background(), node.Rechecked{Check: r.Check, Began: r.Began})
	}
}

// nonlocalHint explains a check that fails on a host without the addresses: an nginx that listens on one of them by name
// cannot start there while the kernel forbids it.
func (d *Daemon) nonlocalHint(r checks.Result) string {
	status := d.snapshot.Load()
	if status == nil || !r.Absent || r.Healthy {
		return ""
	}
	applies := map[string]bool{}
	for _, i := range d.cfg.Load().Instances {
		_, applies[i.Name] = i.Checks[r.Check]
	}
	for _, i := range status.Instances {
		if !applies[i.Name] || i.State != node.Backup || i.Holding {
			continue
		}
		for _, ip := range i.Addresses {
			if allowed, err := linux.NonlocalBind(ip.Is6()); err != nil || allowed {
				continue
			}
			family := "ipv4"
			if ip.Is6() {
				family = "ipv6"
			}
			return fmt.Sprintf("this host does not hold %s, and net.%s.ip_nonlocal_bind is 0: an nginx that listens on %s cannot start here; set it to 1 in /etc/sysctl.d", ip, family, ip)
		}
	}
	return ""
}
