package sim

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// record adds an action to the trace. What repeats with every interval is told once: an advert when it differs from the
// one before it, a renewal never.
func (h *Host) record(a node.Action) {
	if !h.c.cfg.Trace {
		return
	}
	text := h.describe(a)
	if text == "" {
		return
	}
	h.c.Note("%s%s: %s", h.Name, h.label(a), text)
}

// label names the instance of an action, unless it is the host's only one.
func (h *Host) label(a node.Action) string {
	name := ""
	switch a := a.(type) {
	case node.Send:
		name = a.Instance
	case node.SetAddresses:
		name = a.Instance
	case node.Announce:
		name = a.Instance
	case node.Notify:
		name = a.Instance
		if name == "" {
			return " (group " + a.Group + ")"
		}
	case node.Changed:
		name = a.Instance
	case node.Warned:
		name = a.Instance
	case node.LookUp:
		name = a.Instance
	case node.Noted:
		name = a.Instance
	case node.Compared:
		name = a.Instance
	}
	if len(h.cfg.Instances) == 1 && h.cfg.Instances[0].Name == name || name == "" {
		return ""
	}
	return " (" + name + ")"
}

// describe is one line about an action; empty if it is not worth one.
func (h *Host) describe(a node.Action) string {
	switch a := a.(type) {
	case node.Send:
		return h.describeSend(a)
	case node.SetAddresses:
		return describeSet(a)
	case node.Announce:
		return fmt.Sprintf("announce %s", list(a.IPs))
	case node.Probe:
		return fmt.Sprintf("probe %s", list(a.IPs))
	case node.Notify:
		if a.Reassert {
			return fmt.Sprintf("hooks of %s once more: a contention is over", a.State)
		}
		if a.State == node.Contended {
			return fmt.Sprintf("hooks of contention: %s", a.Why)
		}
		return fmt.Sprintf("hooks of %s (was %s, priority %d): %s", a.State, a.Previous, a.Priority, a.Why)
	case node.Changed:
		quiet := ""
		if a.Quiet {
			quiet = " (quiet)"
		}
		return fmt.Sprintf("%s -> %s, priority %d%s: %s", a.From, a.To, a.Priority, quiet, a.Why)
	case node.Warned:
		return "warning: " + a.Why
	case node.Recheck:
		return "ask the checks " + strings.Join(a.Checks, " ")
	case node.LookUp:
		return "look up " + strings.Join(a.Names, " ")
	case node.Noted:
		return "note: " + a.Why
	case node.Compared:
		if a.Agrees {
			return "agrees again: " + a.Why
		}
		return "differs: " + a.Why
	default:
		panic(fmt.Sprintf("sim: unhandled %T", a))
	}
}

// describeSend prints an advert that is not the one before it again.
func (h *Host) describeSend(a node.Send) string {
	advert, err := vrrp.Parse(a.Payload, a.Source, a.Destination, vrrp.HopLimit)
	if err != nil {
		return fmt.Sprintf("send %x: %v", a.Payload, err)
	}
	text := fmt.Sprintf("send %s v%d priority %d interval %s", a.Family, advert.Version, advert.Priority, advert.Interval)
	if !a.Destination.IsMulticast() {
		text = strings.Replace(text, "send", "send to "+a.Destination.String(), 1)
	}
	key := a.Instance + a.Family.String() + a.Destination.String()
	if h.sent[key] == text && advert.Priority != vrrp.PriorityRelease && !h.c.Adverts {
		return ""
	}
	h.sent[key] = text
	return text
}

// describeSet prints a request for addresses.
func describeSet(a node.SetAddresses) string {
	if len(a.Addresses) == 0 {
		return "release"
	}
	if !a.Until.IsZero() {
		return ""
	}
	ips := make([]netip.Addr, len(a.Addresses))
	for k, w := range a.Addresses {
		ips[k] = w.IP
	}
	if a.Lifetime == 0 {
		return fmt.Sprintf("set %s", list(ips))
	}
	return fmt.Sprintf("set %s for %s", list(ips), a.Lifetime)
}

// list joins addresses; of many it names the first and the last.
func list(ips []netip.Addr) string {
	if len(ips) > 10 {
		return fmt.Sprintf("%s .. %s (%d)", ips[0], ips[len(ips)-1], len(ips))
	}
	texts := make([]string, len(ips))
	for k, ip := range ips {
		texts[k] = ip.String()
	}
	return strings.Join(texts, " ")
}

// Masters lists the hosts whose process says that it is master of an instance, in the order of the configuration.
func (c *Cluster) Masters(instance string) []string {
	var names []string
	for _, h := range c.hosts {
		if h.State(instance) == node.Master {
			names = append(names, h.Name)
		}
	}
	return names
}

// DescribeOwners prints who had which address since an instant, a line each.
func (c *Cluster) DescribeOwners(since time.Time) []string {
	var out []string
	for _, ip := range c.addresses() {
		out = append(out, c.Owners.Describe(ip, since, c.now))
	}
	return out
}
