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
	r := &results{Format: format, Machine: "a machine", Memory: resident}
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
		{Name: "255", Title: "255 instances", Daemon: "understudy", Master: usage{CPU: 1.4, Memory: 12}},
		{Name: "255", Title: "255 instances", Daemon: "keepalived", Master: usage{CPU: 0.8, Memory: 5}},
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
	if n := len(r.unmet()); n != 6 {
		t.Errorf("%d targets are not met, want 6", n)
	}
	r.Planned = []string{"stop", "reload-broken", "scale 4080"}
	r.summarize()
	if n := len(r.unmet()); n != 8 {
		t.Errorf("%d targets are not met with two that were not measured, want 8: %+v", n, r.Targets)
	}
}

func TestTargetsOfRows(t *testing.T) {
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

// moveOf is a run of understudy's in which the address moved, and what a test makes of it.
func moveOf(row string, interval milliseconds, edit func(s *sample)) sample {
	s := sample{Row: row, Daemon: "understudy", Interval: interval, Outage: 3, Moves: 1}
	if edit != nil {
		edit(&s)
	}
	return s
}

// TestNothingIsMetByTooLittle judges runs that are too few, or in which nothing happened.
func TestNothingIsMetByTooLittle(t *testing.T) {
	contend := func(s *sample) { s.TwoOwners, s.Contentions, s.Returned = 12, 4, 30 }
	tests := []struct {
		name    string
		samples []sample
		title   string
		want    string
	}{
		{"as many as planned", []sample{moveOf("killed", 1000, nil), moveOf("killed", 1000, nil)}, "outage, maximum", met},
		{"fewer than planned", []sample{moveOf("killed", 1000, nil)}, "outage, maximum", tooFew},
		{"fewer than planned, and one too long", []sample{moveOf("killed", 1000, func(s *sample) { s.Outage, s.Felt = 9000, 9000 })}, "outage, maximum", unmet},
		{"taken back", []sample{moveOf("thawed", 1000, nil), moveOf("thawed", 1000, nil)}, "outage, median", met},
		{"never taken back", []sample{moveOf("thawed", 1000, func(s *sample) { s.Moves = 0 }), moveOf("thawed", 1000, nil)}, "outage, median", unmeasured},
		{"contentions", []sample{moveOf("advert-loss", 100, contend), moveOf("advert-loss", 100, contend)}, "outage, median", met},
		{"contentions, and the client comes back", []sample{moveOf("advert-loss", 100, contend), moveOf("advert-loss", 100, contend)}, figureReturned, met},
		{"contentions, and the client stays", []sample{moveOf("advert-loss", 100, contend), moveOf("advert-loss", 100, func(s *sample) { contend(s); s.Returned = 51 })},
			figureReturned, unmet},
		{"contentions that nobody counted", []sample{moveOf("advert-loss", 100, func(s *sample) { s.TwoOwners = 12 })}, figureReturned, unmeasured},
		{"no contention", []sample{moveOf("advert-loss", 100, nil), moveOf("advert-loss", 100, nil)}, "outage, maximum", unmeasured},
		{"rare contentions", []sample{moveOf("advert-loss-1s", 1000, contend), moveOf("advert-loss-1s", 1000, nil)}, figureReturned, met},
		{"rare contentions, and the client stays", []sample{moveOf("advert-loss-1s", 1000, func(s *sample) { contend(s); s.Returned = 51 }), moveOf("advert-loss-1s", 1000, nil)},
			figureReturned, unmet},
		{"rare contentions, and none came", []sample{moveOf("advert-loss-1s", 1000, nil), moveOf("advert-loss-1s", 1000, nil)}, "outage, median", met},
		{"an outage without a contention", []sample{moveOf("advert-loss", 100, func(s *sample) { s.Outage, s.Felt = 101, 101 })}, "outage, maximum", unmet},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &results{Samples: tt.samples, Runs: []plannedRuns{{1000, 2}, {100, 2}}}
			r.summarize()
			i := slices.IndexFunc(r.Targets, func(v verdictOf) bool { return v.Title == tt.title })
			if i < 0 || r.Targets[i].Verdict != tt.want {
				t.Fatalf("%q: want %q: %+v", tt.title, tt.want, r.Targets)
			}
			if n := slices.Contains(r.unmet(), r.Targets[i]); n != (tt.want != met) {
				t.Errorf("it counts as unmet: %t", n)
			}
		})
	}
	for _, tt := range []struct {
		r    takeoverResult
		want string
	}{
		{takeoverResult{Runs: 200, Planned: 200}, met},
		{takeoverResult{Runs: 150, Planned: 200}, tooFew},
		{takeoverResult{Runs: 199, Planned: 200, Missed: 1}, unmet},
		{takeoverResult{Planned: 200}, unmeasured},
	} {
		for _, v := range judgeTakeovers([]takeoverResult{tt.r}) {
			if v.Verdict != tt.want {
				t.Errorf("%+v: %s is %q, want %q", tt.r, v.Title, v.Verdict, tt.want)
			}
		}
	}
}

// TestEarlierResults reads results of the first form.
func TestEarlierResults(t *testing.T) {
	dir := t.TempDir()
	const text = `{"notes": ["the time limit ended it"], "planned": ["frozen"], "scales": [
  {"name": "1", "title": "1 instances", "daemon": "understudy", "master": {"pss_mib": 9}, "backup": {"pss_mib": 8}}], "samples": [
  {"row": "frozen", "daemon": "understudy", "interval_ms": 1000, "run": 1, "outage_ms": 900, "felt_ms": 900},
  {"row": "frozen", "daemon": "keepalived", "interval_ms": 1000, "run": 1, "two_owners_ms": 6876, "missed": "the address is on [lb1], not on [lb2] (not within 8s)"},
  {"row": "frozen", "daemon": "keepalived", "interval_ms": 1000, "run": 2, "two_owners_ms": 7000, "missed": "the address is on [lb1 lb2], not on [lb2] (not within 8s)"}]}`
	if err := os.WriteFile(filepath.Join(dir, "results.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	b := bench{plan: plan{from: filepath.Join(dir, "results.json"), dir: dir}}
	if err := b.read(); err != nil {
		t.Fatal(err)
	}
	if err := b.write(); err != nil {
		t.Fatal(err)
	}
	r := b.results
	if s := find(r.Summary, "frozen", "keepalived", 1000); s.Missed != 1 {
		t.Errorf("%d runs of keepalived missed their end, want that with two owners: %+v", s.Missed, s)
	}
	if r.plannedAt(1000) != runsAtDefault || r.Targets[0].Verdict != tooFew {
		t.Errorf("of a run that was cut short %d runs were planned: %+v", r.plannedAt(1000), r.Targets)
	}
	if md := fileOf(t, dir, "results.md"); !strings.Contains(md, "PSS of the master") || !strings.Contains(md, "| 9.0 | 8.0 |") || !strings.Contains(md, "did not count contentions") {
		t.Errorf("the memory is not that of the results:\n%s", md)
	}
}

func TestMarkdown(t *testing.T) {
	r := measured()
	r.Samples = append(r.Samples, sample{Row: "thawed", Daemon: "keepalived", Interval: 1000, Outage: 4})
	r.Takeovers = append(r.Takeovers, takeoverResult{Addresses: 7, Runs: 199, Planned: 200, Missed: 1})
	r.Runs = []plannedRuns{{100, 3}}
	r.note("it was %s", "cold")
	r.note("it was %s", "cold")
	r.summarize()
	text := r.markdown()
	for _, want := range []string{
		"| daemon stopped (SIGTERM) | understudy | 2 | 8 / 9 | 0 / 0 |",
		"| keepalived | 1 (1 did not end as they should) |", "| stay, 1 of 1 runs |",
		"| 4080 instances | keepalived | it hung: |", "| **not met** |", "| 200 | 20 | 0.3 / 1 | 9 / 20 | 26 / 40 |", "Note: it was cold.",
		"| keepalived | 1; no move: the address was there already | |", "| understudy | 1 of 3 planned | 3 / 3 |", "| 7 | 199 of 200 planned (1 missed) |",
	} {
		if n := strings.Count(text, want); want == "| **not met** |" && n != 9 || want != "| **not met** |" && n != 1 {
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
	r.Runs = []plannedRuns{{1000, 10}, {100, 1}}
	add := func(s sample) { r.Samples = append(r.Samples, s) }
	add(sample{Row: "killed", Daemon: "understudy", Interval: 1000, Outage: 900, Lost: 450})
	add(sample{Row: "heal", Daemon: "understudy", Interval: 1000, Outage: 2, Settled: 700, Lost: 1})
	add(sample{Row: "nginx-hung", Daemon: "understudy", Interval: 1000, Outage: 1900, Lost: 400, Unanswered: 506})
	add(sample{Row: "nginx-hung", Daemon: "keepalived", Interval: 1000, Outage: 5, Unanswered: 1})
	for _, outage := range []milliseconds{800, 1000} {
		add(sample{Row: "frozen", Daemon: "understudy", Interval: 1000, Outage: outage, Lost: 450})
		add(sample{Row: "frozen", Daemon: "keepalived", Interval: 1000, Outage: 13, TwoOwners: 6500})
		add(sample{Row: "thawed", Daemon: "understudy", Interval: 1000, Outage: 3, Moves: 1})
		add(sample{Row: "thawed", Daemon: "keepalived", Interval: 1000, Outage: 4})
	}
	add(sample{Row: "cut", Daemon: "understudy", Interval: 1000, Outage: 3000, TwoOwners: 4700, Stays: true})
	add(sample{Row: "advert-loss", Daemon: "understudy", Interval: 100, Outage: 8, TwoOwners: 30, Contentions: 4, Returned: 9})
	add(sample{Row: "advert-loss", Daemon: "keepalived", Interval: 100, Outage: 3})
	r.summarize()
	want := `| median / maximum, ms | understudy | keepalived, FAULT | keepalived, weight |
|---|---|---|---|
| daemon stopped (SIGTERM) | 8 / 9, none lost | 600 / 600, none lost (1 run) |  |
| drained by hand | 0 / 0, none lost (1 of 1 runs did not end as they should) |  |  |
| all of nginx killed | 40 / 40, none lost (1 run) |  |  |
| nginx hung (SIGSTOP) | 1900 / 1900, up to 506 without an answer (1 run) | 5 / 5, up to 1 without an answer (1 run) |  |
| all processes of the daemon killed (SIGKILL), no cleanup | 900 / 900 (1 run) | the address stays on both hosts (1 of 1 runs) |  |
| daemon stopped for 10s (SIGSTOP, SIGCONT) | 900 / 1000 | 13 / 13, none lost, two owners for up to 6500 ms |  |
| the daemon that was stopped takes the address back | 3 / 3, none lost | no move: the address was there already |  |
| silent cut for 8s | 3000 / 3000, none lost (1 run) |  |  |
| the cut heals (until the client is on the winner; keepalived's garp_master_refresh is off, as by default) | 700 / 700, up to 1 lost (1 run) |  |  |
| 30% of the adverts lost for 20s, adverts every 100 ms | 8 / 8, none lost, 4 contentions in 1 of 1 runs | no contention |  |
`
	caption, got, _ := strings.Cut(r.brief(), "\n\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, text := range []string{"median / maximum of 2 runs in milliseconds, where a cell names no other number", " 10 runs were planned."} {
		if !strings.Contains(caption, text) {
			t.Errorf("the caption lacks %q: %s", text, caption)
		}
	}
}

func TestARunThatMissesATarget(t *testing.T) {
	for _, c := range []struct {
		what string
		run  sample
		want bool
	}{
		{"two owners too long", moveOf("thawed", 1000, func(s *sample) { s.TwoOwners = overlap + 1 }), true},
		{"two owners as long as may be", moveOf("thawed", 1000, func(s *sample) { s.TwoOwners = overlap }), false},
		{"a connection lost", moveOf("drain", 1000, func(s *sample) { s.Lost = 1 }), true},
		{"only the median is asked", moveOf("drain", 1000, func(s *sample) { s.Outage, s.Felt = 20, 20 }), false},
		{"the machine stood still", moveOf("cut", 1000, func(s *sample) { s.Outage, s.Felt = 9000, 10 }), false},
		{"the other end of what was awaited", moveOf("stop", 1000, func(s *sample) { s.Missed = "no owner" }), true},
		{"no targets at this interval", moveOf("drain", 100, func(s *sample) { s.Lost = 1 }), false},
		{"keepalived", moveOf("drain", 1000, func(s *sample) { s.Lost, s.Daemon = 1, "keepalived" }), false},
	} {
		if got := c.run.exceeds(); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}
