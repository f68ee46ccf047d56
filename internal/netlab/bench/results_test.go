package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSpread(t *testing.T) {
	tests := []struct {
		name   string
		values []milliseconds
		want   spread
	}{
		{"no run", nil, spread{}},
		{"one run", []milliseconds{3}, spread{3, 3}},
		{"an odd number", []milliseconds{9, 1, 2}, spread{2, 9}},
		{"an even number", []milliseconds{4, 1, 2, 9}, spread{3, 9}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, spreadOf(tt.values)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// measured is a result of two daemons at two intervals.
func measured() *results {
	r := &results{Machine: "a machine"}
	add := func(row, daemon string, interval, outage, felt milliseconds) {
		r.Samples = append(r.Samples, sample{Row: row, Daemon: daemon, Interval: interval, Outage: outage, Felt: felt})
	}
	add("nginx-killed", "understudy", 1000, 40, 40)
	add("stop", "keepalived", 1000, 600, 600)
	add("stop", "understudy", 100, 3, 0)
	add("stop", "understudy", 1000, 9, 0)
	add("stop", "understudy", 1000, 7, 0)
	r.Samples = append(r.Samples, sample{Row: "drain", Daemon: "understudy", Interval: 1000, Missed: "the address did not move"})
	r.Samples = append(r.Samples, sample{Row: "killed", Daemon: "keepalived", Interval: 1000, TwoOwners: 1200, Stays: true, Missed: "why"})
	r.Scales = []scaleResult{
		{Name: "255", Title: "255 instances", Daemon: "understudy", Master: usage{CPU: 1.4, PSS: 12}},
		{Name: "255", Title: "255 instances", Daemon: "keepalived", Master: usage{CPU: 0.8, PSS: 5}},
		{Name: "4080", Title: "4080 instances", Daemon: "keepalived", Error: "it hung:\nlast words"},
	}
	r.Takeovers = []takeoverResult{
		{Addresses: 1, Runs: 200, Advert: spread{0.3, 1}, Usable: spread{1.3, 9}, Announced: spread{1.5, 9}},
		{Addresses: 200, Runs: 20, Advert: spread{0.3, 1}, Usable: spread{9, 20}, Announced: spread{26, 40}},
	}
	return r
}

func TestSummarize(t *testing.T) {
	r := measured()
	r.summarize()
	var got []string
	for _, s := range r.Summary {
		got = append(got, strings.Join([]string{figure(s.Interval), s.Row, s.Daemon, s.Outage.String()}, " "))
	}
	want := []string{
		"1000 stop keepalived 600 / 600", "1000 stop understudy 8 / 9", "1000 drain understudy 0 / 0", "1000 nginx-killed understudy 40 / 40",
		"1000 killed keepalived 0 / 0", "100 stop understudy 3 / 3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTargetsAreJudged(t *testing.T) {
	r := measured()
	r.summarize()
	got := make(map[string]string)
	for _, v := range r.Targets {
		got[v.Row+": "+v.Title] = v.Verdict
	}
	for what, want := range map[string]string{
		"stop: outage, median":                                 stalled,
		"stop: lost, maximum":                                  met,
		"drain: lost, maximum":                                 unmet,
		"nginx-killed: outage, median":                         unmet,
		"nginx-killed: two owners, maximum":                    met,
		"scale 255: CPU of the master, 1.5 times keepalived's": unmet,
		"takeover of 1: usable, median":                        met,
		"takeover of 1: announced, median":                     met,
		"takeover of 200: announced, median":                   met,
	} {
		if got[what] != want {
			t.Errorf("%s is %q, want %q", what, got[what], want)
		}
	}
	if n := r.unmet(); n != 6 {
		t.Errorf("%d targets are not met, want 6", n)
	}
	r.Planned = []string{"stop", "reload-broken", "scale 4080"}
	r.summarize()
	if n := r.unmet(); n != 8 {
		t.Errorf("%d targets are not met with two that were not measured, want 8: %+v", n, r.Targets)
	}
	// Each target names rows that there are, and each row has a title of its own.
	rows := rowOrder()
	for _, target := range targets() {
		for _, row := range target.rows {
			if !slices.Contains(rows, row) {
				t.Errorf("the target %q is for the unknown row %q", target.figure, row)
			}
		}
	}
	for _, row := range rows {
		if rowTitle(row) == row {
			t.Errorf("row %q has no title", row)
		}
	}
}

func TestMarkdown(t *testing.T) {
	r := measured()
	r.note("it was %s", "cold")
	r.note("it was %s", "cold")
	r.summarize()
	text := r.markdown()
	for _, want := range []string{
		"| daemon stopped (SIGTERM) | understudy | 2 | 8 / 9 | 0 / 0 |",
		"| keepalived | 1 (1 did not end as they should) |", "| stay, 1 of 1 runs |",
		"| 4080 instances | keepalived | it hung: |", "| **not met** |", "| 200 | 20 | 0.3 / 1 | 9 / 20 | 26 / 40 |", "Note: it was cold.",
	} {
		if n := strings.Count(text, want); want == "| **not met** |" && n != 6 || want != "| **not met** |" && n != 1 {
			t.Errorf("%q is there %d times in\n%s", want, n, text)
		}
	}
	// A table is one only if all its rows have as many columns as its head.
	columns := 0
	for line := range strings.Lines(text) {
		switch n := strings.Count(line, "|"); {
		case !strings.HasPrefix(line, "|"):
			columns = 0
		case columns == 0:
			columns = n
		case n != columns:
			t.Errorf("%d columns, not %d: %s", n, columns, line)
		}
	}
}

func TestPlotIsWellFormed(t *testing.T) {
	r := measured()
	r.summarize()
	svg := plot(r.Summary, 1000)
	d := xml.NewDecoder(strings.NewReader(svg))
	bars := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	const background, legend = 1, 3
	if bars != 5+background+legend {
		t.Errorf("%d rectangles for five bars:\n%s", bars, svg)
	}
	if plotX(0) != plotX(1) || plotX(1e9) != plotWidth-plotRight || plotX(10) >= plotX(100) {
		t.Errorf("the axis leads to %v, %v, %v", plotX(0), plotX(10), plotX(1e9))
	}
}

func TestWrite(t *testing.T) {
	b := &bench{plan: plan{dir: filepath.Join(t.TempDir(), "new")}, results: *measured()}
	if err := b.write(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(b.plan.dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got results
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.results, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, name := range []string{"results.md", "brief.md", "outage-1000ms.svg", "outage-100ms.svg"} {
		if info, err := os.Stat(filepath.Join(b.plan.dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	again := t.TempDir()
	var out, errs bytes.Buffer
	if code := run([]string{"-from", filepath.Join(b.plan.dir, "results.json"), "-out", again}, &out, &errs); code != exitOK {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	for _, name := range []string{"results.json", "results.md", "brief.md"} {
		want, got := fileOf(t, b.plan.dir, name), fileOf(t, again, name)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, written again (-want +got)\n%s", name, diff)
		}
	}
}

func fileOf(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestBrief(t *testing.T) {
	r := measured()
	r.Samples = append(r.Samples, sample{Row: "killed", Daemon: "understudy", Interval: 1000, Outage: 900, Lost: 450},
		sample{Row: "heal", Daemon: "understudy", Interval: 1000, Outage: 2, Settled: 700, Lost: 1})
	r.summarize()
	want := `| median / maximum, ms | understudy | keepalived, FAULT | keepalived, weight |
|---|---|---|---|
| daemon stopped (SIGTERM) | 8 / 9, none lost | 600 / 600, none lost |  |
| drained by hand | 0 / 0, none lost (1 of 1 runs did not end as they should) |  |  |
| all of nginx killed | 40 / 40, none lost |  |  |
| all processes of the daemon killed (SIGKILL), no cleanup | 900 / 900 | the address stays on both hosts (1 of 1 runs) |  |
| the cut heals | 700 / 700, up to 1 lost |  |  |
`
	if diff := cmp.Diff(want, r.brief()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
