package config

import "github.com/hashicorp/hcl/v2"

// later lists what the design has and this version has not: it is decoded and judged like the rest, and then refused, since
// a key that is accepted and does nothing would be a lie. The line goes when the feature comes.
var later = map[string]struct{ what, remedy string }{
	"mac":       {"a virtual MAC is", "remove the line"},
	"telemetry": {"telemetry over HTTP is", "remove the block"},
}

// later judges what this version refuses in an instance block.
func (l *loader) later(in *instance, raw *rawInstance) {
	b := in.block
	if b.usable("mac") && raw.MAC == "virtual" {
		l.refuseLater("mac", b.place("mac"))
	}
}

// refuseLater reports a feature that is not in this version.
func (l *loader) refuseLater(name string, at hcl.Range) {
	if f, ok := later[name]; ok {
		l.found.errorf(at, f.remedy, "%s: %s not in this version of understudy", name, f.what)
	}
}
