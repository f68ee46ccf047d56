package config

import (
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// judgeVersion checks what depends on the protocol's version: the interval that it can carry, the families and the
// checksum.
func (l *loader) judgeVersion(in *instance, raw *rawInstance) {
	b := in.block
	switch {
	case b.has("version") && !b.usable("version"):
		return
	case raw.Version != 2 && raw.Version != 3:
		l.found.errorf(b.place("version"), "allowed: 2 or 3", "version is %d", raw.Version)
		return
	}
	least, most, unit := vrrp.MinInterval, vrrp.MaxIntervalV3, 10*time.Millisecond
	if raw.Version == 2 {
		least, most, unit = vrrp.MinIntervalV2, vrrp.MaxIntervalV2, time.Second
		l.judgeVersion2(in)
	}
	if d := raw.AdvertiseInterval; b.usable("advertise_interval") && (d < least || d > most || d%unit != 0) {
		l.found.errorf(b.place("advertise_interval"),
			fmt.Sprintf("allowed with version %d: %s..%s in steps of %s", raw.Version, brief(least), brief(most), brief(unit)),
			"advertise_interval is %s", brief(d))
	}
	l.judgeChecksum(in, raw)
}

func (l *loader) judgeVersion2(in *instance) {
	for i, a := range in.Addresses {
		if a.IP.Is6() {
			l.found.errorf(in.block.element("addresses", i), "VRRPv2 knows only IPv4; use version = 3, or an instance of its own",
				"addresses holds %s with version = 2", a.IP)
		}
	}
}

// judgeChecksum refuses a form where there is no choice: it would do nothing.
func (l *loader) judgeChecksum(in *instance, raw *rawInstance) {
	if raw.Checksum == "rfc9568" {
		in.Checksum = vrrp.ChecksumMessage
	}
	if !in.block.usable("checksum") || raw.Checksum == "auto" || !in.block.usable("addresses") || len(in.Addresses) == 0 {
		return
	}
	if raw.Version == 2 || in.Families()[0] == vrrp.IPv6 {
		l.found.errorf(in.block.place("checksum"), "remove the line", "checksum is %q, but only version 3 over IPv4 has a choice", raw.Checksum)
	}
}
