package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// built is the daemon as users get it, without the race detector.
var built string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	path, remove, err := pairtest.Build(false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitError
	}
	defer remove()
	built = path
	return m.Run()
}

// benched runs the benchmark, and returns its results and what it printed.
func benched(t *testing.T, args ...string) (r results, out string) {
	t.Helper()
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	if code := run(append([]string{"-out", dir, "-scale", "none"}, args...), &stdout, &stderr); code != exitOK {
		t.Fatalf("exit %d: %s%s", code, stdout.String(), stderr.String())
	}
	if err := json.Unmarshal([]byte(fileOf(t, dir, "results.json")), &r); err != nil {
		t.Fatal(err)
	}
	return r, stdout.String()
}

// TestTakingOver holds what a decision may take until the wire and the kernel know of it: the advert, one address and its
// announcement 2 ms, 200 addresses 50 ms, with the advert not behind them. Medians of 200 and of 20.
func TestTakingOver(t *testing.T) {
	labtest.Root(t)
	labtest.Require(t, "nginx", "tcpdump")
	r, out := benched(t, "-understudy", built, "-daemons", "understudy", "-faults", "none", "-check")
	t.Log(out)
	if len(r.Takeovers) != 2 || len(r.Targets) != 6 || r.Takeovers[0].Runs != takeovers || r.Takeovers[1].Addresses != manyAddresses {
		t.Errorf("want both cases and six targets: %+v", r)
	}
}

// TestBench measures a stop and a return at a short interval, for real: once with both daemons, and twice more with understudy, whose
// medians are held to the targets of planned moves.
func TestBench(t *testing.T) {
	labtest.Root(t)
	labtest.Require(t, "nginx", "keepalived", "nft", "curl")
	common := []string{"-understudy", built, "-faults", "stop", "-interval", "100ms", "-takeover=false"}
	r, out := benched(t, append(common, "-daemons", "understudy,keepalived", "-runs", "1", "-trace")...)
	more, _ := benched(t, append(common, "-daemons", "understudy", "-runs", "2")...)
	r.Samples = append(r.Samples, more.Samples...)
	r.summarize()
	if len(r.Summary) != 4 {
		t.Fatalf("want a stop and a return for each daemon: %+v", r)
	}
	for _, s := range r.Summary {
		if s.Missed > 0 || s.Moves.Median != 1 || s.KeepAlive.Median == 0 || s.Downloads.Median == 0 {
			t.Errorf("%+v", s)
		}
	}
	// Its backup waits for its skew, (256 - 100)/256 of 100 ms.
	if s := find(r.Summary, "stop", "keepalived", 100); s.Nobody.Median < 40 || s.Felt.Median < 40 || s.Lost.Median == 0 {
		t.Errorf("keepalived's stop: %+v", s)
	}
	// ordered is how exactly the order of two hosts' events is known; and a busy machine delays a client that is to be felt nothing of.
	const ordered, busy = 10, 2 * seamless
	for _, row := range []string{"stop", "return"} {
		s := find(r.Summary, row, "understudy", 100)
		if s.Runs != 3 || s.Felt.Median > busy || s.Lost.Median > 0 || s.TwoOwners.Median > overlap || s.Nobody.Median > ordered {
			t.Errorf("understudy's %s costs more than a planned move may: %+v", row, s)
		}
	}
	for _, want := range []string{"=== daemon stopped (SIGTERM), understudy at 100ms", "lb2 GETS the address", "client: "} {
		if !strings.Contains(out, want) {
			t.Errorf("the trace lacks %q:\n%s", want, out)
		}
	}
}

func TestUsage(t *testing.T) {
	p, err := startProcess("a busy shell", t.TempDir(), "sh", "-c", "sh -c 'while :; do :; done' & echo up; wait")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.kill(); err != nil {
			t.Error(err)
		}
	}()
	labtest.Eventually(t, 10*time.Second, func() (bool, string) {
		cpu, err := p.cpuTime()
		return err == nil && cpu > 20*time.Millisecond && len(tree(p.pid())) == 2, "the child's time is not counted: " + cpu.String()
	})
	if got, err := p.memory(); err != nil || got <= 0 || got > 50 {
		t.Errorf("two shells have %v MiB, %v", got, err)
	}
	if l := p.between(time.Time{}, time.Now()); len(l) != 1 || l[0].text != "up" || p.tail() != "up" {
		t.Errorf("the output is %v", l)
	}
	children := tree(p.pid())
	if err := p.kill(); err != nil || p.running() {
		t.Errorf("it runs: %t, %v", p.running(), err)
	}
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(children[1]) + "/stat")
		return err != nil || strings.Contains(string(text), ") Z "), "the child outlives its parent"
	})
}

// TestPairThatDoesNotRecover freezes a daemon for good. It is started again, and its sample says so.
func TestPairThatDoesNotRecover(t *testing.T) {
	labtest.Root(t)
	labtest.Require(t, "nginx")
	ctx := t.Context()
	u, err := newUnderstudy(built)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPair(ctx, u, 100*time.Millisecond, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}()
	var remarks []string
	p.out, p.remark = t.Output(), func(what string, _ error) { remarks = append(remarks, what) }
	if err := p.take(u); err != nil {
		t.Fatal(err)
	}
	p.bound = 5 * time.Second
	samples, err := p.measure(ctx, fault{undo: nothing, steps: []step{{
		row: "frozen", until: toLB2, bound: moveBound, do: func(context.Context, *pair) error { return p.lb1.daemon.signalAll(syscall.SIGSTOP) },
	}}})
	if err != nil || len(samples) != 1 {
		t.Fatalf("%v, %v", samples, err)
	}
	if want := "afterwards the address is on [lb2], not on [lb1] (not within 5s)"; samples[0].Missed != want {
		t.Errorf("the sample missed %q, want %q", samples[0].Missed, want)
	}
	if want := []string{`understudy at 100ms did not recover by itself after "frozen", and was started again`}; !slices.Equal(remarks, want) {
		t.Errorf("remarks %q, want %q", remarks, want)
	}
	if ok, reason := p.only(p.lb1)(); !ok {
		t.Errorf("afterwards %s", reason)
	}
}

func TestScaleInstances(t *testing.T) {
	for _, c := range allScales() {
		seen := make(map[string]bool)
		perLink := make(map[string]int)
		for _, i := range c.all() {
			seen[i.addr.String()] = true
			perLink[i.link]++
			if i.vrid < 1 || i.vrid > 255 || !i.addr.IsPrivate() {
				t.Errorf("%s: %+v", c.name, i)
			}
		}
		if len(seen) != c.instances || len(perLink) != c.links() {
			t.Errorf("%s: %d addresses on %d links, want %d on %d", c.name, len(seen), len(perLink), c.instances, c.links())
		}
	}
}
