package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParsePlan(t *testing.T) {
	type choice struct {
		Daemons, Faults, Scales []string
		Intervals               []time.Duration
		Runs                    int // at the first interval
	}
	tests := []struct {
		name string
		args []string
		want choice
	}{
		{"parts", []string{"-faults", "cut,stop", "-daemons", "understudy,keepalived", "-interval", "100ms", "-scale", "50"},
			choice{[]string{"understudy", "keepalived"}, []string{"stop", "cut"}, []string{"50"}, []time.Duration{100 * time.Millisecond}, 3}},
		{"one part often", []string{"-faults", "stop", "-daemons", "understudy", "-interval", "1s", "-scale", "none", "-runs", "20"},
			choice{[]string{"understudy"}, []string{"stop"}, nil, []time.Duration{time.Second}, 20}},
		{"the quick ones", []string{"-quick", "-daemons", "keepalived"},
			choice{[]string{"keepalived"}, []string{"stop", "nginx-killed", "nginx-hung", "killed", "address-deleted", "link-down"}, nil, []time.Duration{time.Second}, 3}},
		{"ten at the default interval", []string{"-faults", "stop", "-daemons", "keepalived-weight", "-interval", "1s", "-scale", "1"},
			choice{[]string{"keepalived-weight"}, []string{"stop"}, []string{"1"}, []time.Duration{time.Second}, 10}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := parsePlan(append([]string{"-understudy", "sh"}, tt.args...), t.Output())
			if err != nil {
				t.Fatal(err)
			}
			got := choice{Intervals: p.intervals, Runs: p.runsAt(p.intervals[0])}
			for _, d := range p.products {
				got.Daemons = append(got.Daemons, d.name())
			}
			for _, f := range p.faults {
				got.Faults = append(got.Faults, f.name)
			}
			for _, s := range p.scales {
				got.Scales = append(got.Scales, s.name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestWeightsAreMeasuredForNginxOnly(t *testing.T) {
	p := plan{faults: allFaults()}
	for _, f := range p.faultsOf(&keepalived{weight: true}, lossInterval) {
		if !strings.HasPrefix(f.name, "nginx-") {
			t.Errorf("%s is measured with weights", f.name)
		}
	}
	for _, interval := range []time.Duration{lossInterval, defaultInterval} {
		ours := slices.DeleteFunc(p.faultsOf(&understudy{}, interval), func(f fault) bool { return f.alone })
		if theirs := p.faultsOf(&keepalived{}, interval); len(theirs) != len(ours) {
			t.Errorf("keepalived without weights has %d faults at %v, want %d", len(theirs), interval, len(ours))
		}
	}
}

func TestAdvertsAreLostWhereContentionsHappen(t *testing.T) {
	p := plan{faults: allFaults(), products: []product{&understudy{}}, intervals: []time.Duration{defaultInterval}}
	lost := func(f fault) bool { return f.name == "advert-loss" }
	if slices.ContainsFunc(p.faultsOf(&understudy{}, defaultInterval), lost) || slices.Contains(p.judged(), "advert-loss") {
		t.Error("adverts are lost at the default interval, where hardly a contention happens")
	}
	p.intervals = append(p.intervals, lossInterval)
	if !slices.ContainsFunc(p.faultsOf(&understudy{}, lossInterval), lost) || !slices.Contains(p.judged(), "advert-loss") {
		t.Errorf("no adverts are lost at %v", lossInterval)
	}
}

func TestBadCommandLines(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"an unknown fault", []string{"-faults", "fire"}, `bench: -faults: "fire" is none of stop, drain, `},
		{"an unknown size", []string{"-scale", "7"}, `bench: -scale: "7" is none of 1, 50, `},
		{"an unknown daemon", []string{"-daemons", "frr"}, `bench: -daemons: "frr" is none of understudy, keepalived, keepalived-weight`},
		{"an interval that no advert can carry", []string{"-interval", "1ms"}, `bench: -interval: "1ms": want 10ms to 40s, in whole centiseconds`},
		{"no such daemon", []string{"-understudy", "/nowhere"}, `bench: -understudy: find /nowhere: `},
		{"a fault of another interval", []string{"-faults", "stop,advert-loss", "-interval", "1s"}, `bench: -faults: "advert-loss" is measured at 100ms only: add that to -interval`},
		{"an argument", []string{"stop"}, `bench: unexpected argument "stop"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(append([]string{"-understudy", "sh"}, tt.args...), &out, &errs)
			if code != exitUsage || !strings.HasPrefix(errs.String(), tt.want) {
				t.Errorf("exit %d, %q, want %q", code, errs.String(), tt.want)
			}
		})
	}
}
