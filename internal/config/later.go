package config

import "github.com/hashicorp/hcl/v2"

// later lists what the design has and this version has not: it is decoded and judged like the rest, and then refused, since
// a key that is accepted and does nothing would be a lie. The line goes when the feature comes.
var later = map[string]struct{ what, remedy string }{
	"telemetry": {"telemetry over HTTP is", "remove the block"},
}

// refuseLater reports a feature that is not in this version.
func (l *loader) refuseLater(name string, at hcl.Range) {
	if f, ok := later[name]; ok {
		l.found.errorf(at, f.remedy, "%s: %s not in this version of understudy", name, f.what)
	}
}
