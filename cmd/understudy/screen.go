package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// staleReport is how old the picture in a report may be: a daemon that works makes one for who asks, within a second.
const staleReport = 3 * time.Second

// screen prints a report for people.
func screen(r node.Report, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: understudy %s, pid %d, running for %s\n", r.Node.Node, r.Version, r.PID, age(now, r.Started))
	if at := r.Node.At; !at.IsZero() && now.Sub(at) > staleReport {
		fmt.Fprintf(&b, "NOT OF NOW: the daemon is too busy to say more, or hangs; what follows was so %s ago\n", age(now, r.Node.At))
	}
	if r.Node.Shadow {
		b.WriteString("SHADOW: it sends nothing and sets no address; what follows is what it would be\n")
	}
	if len(r.Node.Drained) > 0 {
		fmt.Fprintf(&b, "DRAINED by %s\n", strings.Join(r.Node.Drained, ", "))
	}
	if r.Config.Rejected != "" {
		fmt.Fprintf(&b, "configuration REJECTED %s ago, the one of %s ago goes on:\n  %s\n", age(now, r.Config.Since), age(now, r.Config.Loaded),
			strings.ReplaceAll(r.Config.Rejected, "\n", "\n  "))
	} else {
		fmt.Fprintf(&b, "configuration loaded %s ago from %s\n", age(now, r.Config.Loaded), strings.Join(r.Config.Paths, ", "))
	}
	if r.Config.Unwatched != "" {
		fmt.Fprintf(&b, "not every change of it is noticed, reload by hand: %s\n", r.Config.Unwatched)
	}
	b.WriteString(exchanges(r, now))
	for _, g := range r.Node.Groups {
		b.WriteString("\n")
		groupLines(&b, g, now)
	}
	for _, i := range r.Node.Instances {
		b.WriteString("\n")
		instanceLines(&b, i, now)
		if why := r.Remarks[i.Name]; why != "" {
			fmt.Fprintf(&b, "  this host  %s\n", why)
		}
	}
	for _, l := range r.Node.Links {
		b.WriteString("\n")
		linkLines(&b, l, now)
	}
	if len(r.Checks) > 0 {
		b.WriteString("\nchecks\n")
		checkLines(&b, r.Checks, now)
		hintLines(&b, r.Checks)
	}
	if len(r.Hooks) > 0 {
		b.WriteString("\nhooks\n")
		hookLines(&b, r.Hooks, r.Node.Shadow, now)
	}
	return printable(b.String())
}

// exchanges says when the program was exchanged, and why it was not.
func exchanges(r node.Report, now time.Time) (lines string) {
	x := r.Reexec
	if x == nil {
		return ""
	}
	if !x.At.IsZero() {
		lines = fmt.Sprintf("version %s went on for version %s %s ago\n", r.Version, x.From, age(now, x.At))
	}
	if x.Refused != "" {
		lines += fmt.Sprintf("reexec REFUSED %s ago, this version goes on: %s\n", age(now, x.RefusedAt), strings.ReplaceAll(x.Refused, "\n", "\n  "))
	}
	return lines
}

// printable keeps what a check or hook wrote from steering the terminal, and cuts what ends a line unseen.
func printable(text string) string {
	lines := strings.Split(text, "\n")
	for k, line := range lines {
		lines[k] = strings.TrimRight(strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) || r == '\t' {
				return r
			}
			return '?'
		}, line), " ")
	}
	return strings.Join(lines, "\n")
}

// groupLines is one group: what its instances share.
func groupLines(b *strings.Builder, g node.GroupStatus, now time.Time) {
	fmt.Fprintf(b, "%s  %s for %s  (group of %s)\n", g.Name, strings.ToUpper(string(g.State)), age(now, g.Since), strings.Join(g.Instances, ", "))
	fmt.Fprintf(b, "  because    %s\n", g.Why)
	for _, where := range g.Waiting {
		fmt.Fprintf(b, "  waits      %s\n", where)
	}
}

// instanceLines is one instance.
func instanceLines(b *strings.Builder, i node.InstanceStatus, now time.Time) {
	would := ""
	if i.Compared != nil {
		would = "would be "
	}
	mac := ""
	if i.VirtualMAC {
		mac = ", virtual MAC; its addresses: ip address show type macvlan"
	}
	fmt.Fprintf(b, "%s  %s%s for %s  (vrid %d on %s%s)\n", i.Name, would, strings.ToUpper(string(i.State)), age(now, i.Since), i.VRID, i.Interface, mac)
	fmt.Fprintf(b, "  because    %s\n", i.Why)
	if i.TwoMasters != "" {
		seen := ""
		if i.Contention != nil {
			seen = fmt.Sprintf(" (seen %s ago)", age(now, i.Contention.At))
		}
		fmt.Fprintf(b, "  TWO MASTERS: %s%s\n", i.TwoMasters, seen)
	}
	if i.Unheeded != "" && i.TwoMasters == "" {
		fmt.Fprintf(b, "  UNHEEDED   %s; that host may be master too\n", i.Unheeded)
	}
	if i.Clash != "" {
		fmt.Fprintf(b, "  ONE ADDRESS TWICE: %s\n", i.Clash)
	}
	if c := i.Compared; c != nil {
		fmt.Fprintf(b, "  compared   %s\n", comparison(c, now))
	}
	fmt.Fprintf(b, "  priority   %s\n", sum(i))
	for _, why := range i.Unhealthy {
		fmt.Fprintf(b, "  unhealthy  %s\n", why)
	}
	for _, m := range i.Routers {
		fmt.Fprintf(b, "  %-10s %s\n", m.Family, router(i, m, now))
		contrastLines(b, m.Own)
		if m.Auth != nil {
			fmt.Fprintf(b, "  %-10s %s\n", "  auth", auth(m, now))
		}
		for k, line := range peerLines(m, now) {
			label := ""
			if k == 0 {
				label = "peers"
			}
			fmt.Fprintf(b, "  %-10s %s\n", label, line)
		}
		speakerLines(b, m, now)
		tallyLines(b, "refused", m.Refused, now)
		tallyLines(b, "odd", m.Notices, now)
	}
	fmt.Fprintf(b, "  addresses  %s\n", addresses(i, now))
	if i.Beside != "" {
		fmt.Fprintf(b, "  BESIDE     it could not take part again: %s\n", i.Beside)
	}
	if c := i.LastChange; !c.At.IsZero() {
		took := ""
		if c.Took > 0 {
			took = ", took " + c.Took.Round(100*time.Microsecond).String()
		}
		fmt.Fprintf(b, "  changed    %s -> %s %s ago%s: %s\n", c.From, c.To, age(now, c.At), took, c.Why)
	}
}

// sum shows the effective priority and where it comes from.
func sum(i node.InstanceStatus) string {
	var terms []string
	for _, t := range i.Terms {
		terms = append(terms, fmt.Sprintf("%+d %s", t.Value, t.What))
	}
	total := strings.TrimPrefix(strings.Join(terms, " "), "+")
	if len(i.Unhealthy) > 0 {
		return fmt.Sprintf("%d: unhealthy (else %s)", i.Priority, total)
	}
	if i.Group != "" && i.Priority != i.Own {
		return fmt.Sprintf("%d: the lowest of group %s (here %d = %s)", i.Priority, i.Group, i.Own, total)
	}
	return fmt.Sprintf("%d = %s", i.Priority, total)
}

// router says what one family's virtual router hears, and what is wrong with it.
func router(i node.InstanceStatus, m node.RouterStatus, now time.Time) string {
	var parts []string
	switch {
	case m.Heard.IsZero():
		parts = append(parts, "no other master was heard")
	default:
		parts = append(parts, fmt.Sprintf("last heard %s with priority %d, %s ago", m.Peer, m.PeerPrio, age(now, m.Heard)))
		if i.State == node.Backup && m.MasterDown > 0 {
			parts = append(parts, fmt.Sprintf("takes over after %s of silence", m.MasterDown))
		}
	}
	if m.Own != nil {
		parts = append(parts, ownAdverts(m.Own, now))
	}
	if m.Waiting != "" && i.State == node.Backup {
		whom := "the instance's other family"
		if i.Group != "" {
			whom = "the rest of group " + i.Group
		}
		parts = append(parts, "waits for "+whom+": "+m.Waiting)
	}
	if m.SendError != "" {
		parts = append(parts, "adverts do not leave: "+m.SendError)
	}
	return strings.Join(parts, "; ")
}

// auth says what is demanded of other hosts' adverts, and who proved theirs.
func auth(m node.RouterStatus, now time.Time) string {
	a := m.Auth
	if len(a.Keys) == 0 {
		return "VRRPv2's password, which is sent in clear"
	}
	signs := fmt.Sprintf("key %d signs", a.Active)
	if len(a.Keys) > 1 {
		signs += ", keys " + believed(a.Keys) + " are believed"
	}
	if a.Mode == vrrp.ReceiveOnly.String() {
		signs = "this host does not sign"
	}
	parts := []string{a.Mode + ", " + signs, fmt.Sprintf("accepted %d signed, %d not signed", m.Counters.Signed, m.Counters.Unsigned)}
	for _, s := range a.Senders {
		side := "ahead"
		if s.Ahead < 0 {
			side = "behind"
		}
		parts = append(parts, fmt.Sprintf("%s signed with key %d %s ago, its clock %s %s", s.Address, s.Key, age(now, s.Heard),
			max(s.Ahead, -s.Ahead).Round(time.Millisecond), side))
	}
	return strings.Join(parts, "; ")
}

// believed lists the numbers of keys.
func believed(keys []uint8) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = strconv.Itoa(int(k))
	}
	return strings.Join(names, " and ")
}

// peerLines are those of the hosts that a virtual router has in its list.
func peerLines(m node.RouterStatus, now time.Time) (lines []string) {
	for _, p := range m.Peers {
		lines = append(lines, peer(p, now))
	}
	if len(lines) > 0 && !m.Unicast {
		lines = append(lines, "MULTICAST, as before the reload, until no name is missing")
	}
	return lines
}

// peer says what is known of another host of a unicast instance.
func peer(p node.PeerStatus, now time.Time) string {
	if p.Problem != "" {
		return fmt.Sprintf("%s IS MISSING: %s", p.Name, p.Problem)
	}
	text := p.Address.String()
	if p.Name != "" {
		text = fmt.Sprintf("%s (%s)", p.Name, text)
	}
	if p.Heard.IsZero() {
		text += " not heard yet" // only a master advertises
	} else {
		text += fmt.Sprintf(" heard %s ago with priority %d", age(now, p.Heard), p.Priority)
	}
	if p.SendError != "" {
		text += "; adverts do not reach it: " + p.SendError
	}
	if p.Former {
		text += "; counts on from before the reload, until no name is missing"
	}
	return text
}

// comparison is a shadow's verdict.
func comparison(c *node.Comparison, now time.Time) string {
	verdict := "agrees with this host's own adverts"
	if !c.Agrees {
		verdict = "DIFFERS from this host's own adverts"
	}
	return fmt.Sprintf("%s for %s: %s", verdict, age(now, c.Since), c.Why)
}

// ownAdverts is what another daemon of this host sends.
func ownAdverts(o *node.OwnAdverts, now time.Time) string {
	return fmt.Sprintf("this host's own: %d adverts, the last with priority %d, %s ago", o.Count, o.Priority, age(now, o.Heard))
}

// contrastLines say what would change on the wire if this daemon took the other one's place, and what would not.
func contrastLines(b *strings.Builder, o *node.OwnAdverts) {
	if o == nil {
		return
	}
	for _, d := range o.Differs {
		fmt.Fprintf(b, "  differs    %s\n", d)
	}
	if len(o.Same) > 0 {
		fmt.Fprintf(b, "  the same   %s\n", strings.Join(o.Same, ", "))
	}
}

// addresses says whether the kernel has them, and who took over when this host let go of them.
func addresses(i node.InstanceStatus, now time.Time) string {
	where := "not here"
	switch {
	case i.Compared != nil && i.State == node.Master:
		where = "would be here"
	case i.Compared != nil:
		where = "would not be here"
	case i.Confirmed:
		where = "here"
	case i.Holding:
		where = "being set"
	case !i.LetGo.At.IsZero():
		where += fmt.Sprintf(", let go of %s ago: %s had taken over", age(now, i.LetGo.At), cmp.Or(i.LetGo.To, "nobody"))
	}
	if now.Before(i.Retry) {
		where += fmt.Sprintf(", tried again in %s", age(i.Retry, now))
	}
	if i.Holding && i.Lease > 0 {
		where += fmt.Sprintf(", leased for %s", i.Lease)
	}
	if i.Holding && i.Lease == 0 {
		where += ", without a lease"
	}
	if l := i.Leftover; l != nil {
		where = fmt.Sprintf("given up, but STILL HERE: %s; tried again every second: %s", join(l.Addresses), l.Why)
	}
	return fmt.Sprintf("%s (%s)", join(i.Addresses), where)
}

// join lists addresses.
func join(ips []netip.Addr) string {
	texts := make([]string, len(ips))
	for k, ip := range ips {
		texts[k] = ip.String()
	}
	return strings.Join(texts, ", ")
}

// health is what a check has come to, for people.
func health(c node.CheckReport) string {
	switch {
	case !c.Known:
		return "no result yet"
	case c.Healthy:
		return "healthy"
	}
	return "UNHEALTHY"
}

// checkLines is one line for each check.
func checkLines(b *strings.Builder, checks []node.CheckReport, now time.Time) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		streak := ""
		if c.Streak > 0 {
			streak = fmt.Sprintf(" (%d of %d the other way)", c.Streak, c.Need)
		}
		when := ""
		if c.Known {
			when = fmt.Sprintf("%s ago in %s", age(now, c.At), c.Took.Round(100*time.Microsecond))
		}
		fmt.Fprintf(w, "  %s\t%s\t%s%s\t%s\t%s\n", c.Name, c.Kind, health(c), streak, when, c.Reason)
	}
	_ = w.Flush() // to a buffer
	for _, c := range checks {
		if c.Warning != "" {
			fmt.Fprintf(b, "  %s does less than it could: %s\n", c.Name, c.Warning)
		}
	}
}

// lastLine is where a program usually says why it failed.
func lastLine(output string) string {
	output = strings.TrimSpace(output)
	return strings.TrimSpace(output[strings.LastIndexByte(output, '\n')+1:])
}

// hintLines say once what may be behind the failure of several checks.
func hintLines(b *strings.Builder, checks []node.CheckReport) {
	told := map[string]bool{"": true}
	for _, c := range checks {
		if !told[c.Hint] {
			told[c.Hint] = true
			fmt.Fprintf(b, "  hint: %s\n", c.Hint)
		}
	}
}

// hookLines is one line for each hook and instance that it ran for.
func hookLines(b *strings.Builder, hooks []node.HookReport, shadow bool, now time.Time) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, h := range hooks {
		end := "done"
		if shadow {
			end = "not run"
		}
		if h.Error != "" {
			end = "FAILED: " + h.Error
			if why := lastLine(h.Output); why != "" {
				end += ": " + why
			}
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s ago in %s\t%s\n", h.Name, h.Instance, h.State, age(now, h.At), h.Took.Round(time.Millisecond), end)
	}
	_ = w.Flush() // to a buffer
}

// age is a span for people.
func age(now, then time.Time) string {
	d := now.Sub(then)
	switch {
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < 48*time.Hour:
		return d.Round(time.Second).String()
	default:
		return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}
