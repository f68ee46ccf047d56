package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// speakerLines is one line for each host whose adverts were accepted.
func speakerLines(b *strings.Builder, m node.RouterStatus, now time.Time) {
	for _, s := range m.Speakers {
		parts := []string{s.Address.String()}
		if s.MAC != "" {
			parts[0] += " (" + s.MAC + ")"
		}
		parts = append(parts, fmt.Sprintf("priority %d, every %s", s.Priority, s.Interval))
		if s.Checksum != "" {
			parts = append(parts, "checksum "+s.Checksum+otherForm(s))
		}
		if s.Refused != "" {
			parts = append(parts, "now refused: "+s.Refused)
		}
		fmt.Fprintf(b, "  %-10s %s, %s ago\n", "heard", strings.Join(parts, ", "), age(now, s.Heard))
	}
}

// otherForm says how many of a host's adverts had the checksum form that its last one had not, if any.
func otherForm(s node.SpeakerStatus) string {
	other, count := vrrp.ChecksumMessage, s.Message
	if s.Checksum == other.String() {
		other, count = vrrp.ChecksumPseudoHeader, s.PseudoHeader
	}
	if count == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d of %d %s)", count, s.PseudoHeader+s.Message, other)
}

// tallyLines is one line for each reason: how often, who last, and what to do.
func tallyLines(b *strings.Builder, what string, t node.Tally, now time.Time) {
	for _, reason := range slices.Sorted(maps.Keys(t)) {
		c := t[reason]
		who := c.Last.String()
		if c.MAC != "" {
			who += " (" + c.MAC + ")"
		}
		if c.VRID > 0 {
			who += fmt.Sprintf(" for VRID %d", c.VRID)
		}
		fmt.Fprintf(b, "  %-10s %d %s, last from %s %s ago: %s\n", what, c.Count, reason, who, age(now, c.At), c.Text)
	}
}

// linkLines is what an interface carries that reaches no instance.
func linkLines(b *strings.Builder, l node.LinkStatus, now time.Time) {
	fmt.Fprintf(b, "%s carries VRRP of others\n", l.Name)
	tallyLines(b, "stray", l.Stray, now)
	if l.Overlooked > 0 {
		fmt.Fprintf(b, "  %-10s %d packets that were too many to look at\n", "flood", l.Overlooked)
	}
	for _, d := range l.Dropped {
		fmt.Fprintf(b, "  %-10s %s ago: %s\n", "DROPPED", age(now, d.At), d.Text)
	}
}
