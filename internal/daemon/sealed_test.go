package daemon

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/notify"
	"github.com/understudy-ha/understudy/vrrp"
)

var update = flag.Bool("update", false, "write what the sealed state looks like now into testdata; sealedFormat must have gone on")

// shape prints the fields of a type, with all that is below them.
func shape(t reflect.Type, seen map[reflect.Type]bool, lines *[]string) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		if t.Kind() == reflect.Map {
			shape(t.Key(), seen, lines)
		}
		shape(t.Elem(), seen, lines)
	case reflect.Struct:
		if seen[t] || t == reflect.TypeFor[time.Time]() || strings.HasPrefix(t.PkgPath(), "net") {
			return
		}
		seen[t] = true
		for f := range t.Fields() {
			if f.IsExported() {
				*lines = append(*lines, fmt.Sprintf("%s.%s %s %s", t, f.Name, f.Type, f.Tag.Get("json")))
				shape(f.Type, seen, lines)
			}
		}
	}
}

// TestSealedFormat holds that the fields of the state, and of the lists beside it in the runtime directory, do not change without its
// format: another version would read them wrongly.
func TestSealedFormat(t *testing.T) {
	lines := []string{fmt.Sprintf("format %d", sealedFormat)}
	seen := map[reflect.Type]bool{}
	for _, left := range []reflect.Type{reflect.TypeFor[sealedState](), reflect.TypeFor[linux.Held](), reflect.TypeFor[linux.Macvlan]()} {
		shape(left, seen, &lines)
	}
	slices.Sort(lines[1:])
	got := strings.Join(lines, "\n") + "\n"
	path := filepath.Join("testdata", "sealed-format.txt")
	want, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	if strings.HasPrefix(string(want), lines[0]+"\n") {
		t.Fatalf("the sealed state has other fields than format %d had: raise sealedFormat, then run with -update (-want +got):\n%s", sealedFormat, cmp.Diff(string(want), got))
	}
	if !*update {
		t.Fatalf("run with -update, and look at what changed (-want +got):\n%s", cmp.Diff(string(want), got))
	}
	if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
		t.Fatal(err)
	}
}

// aNode is one with an instance of each family that is master.
func aNode(t testing.TB, now time.Time) *node.Node {
	t.Helper()
	i := node.Instance{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3, Auth: anAuth,
		Addresses: []node.Address{{IP: netip.MustParseAddr("192.0.2.10")}, {IP: netip.MustParseAddr("2001:db8::10")}},
		Checks:    map[string]node.Effect{"nginx": {}},
	}
	n := node.New(node.Config{Name: "lb1", Instances: []node.Instance{i}}, now)
	n.Step(now, node.LinkChanged{Link: node.Link{
		Name: "eth0", Up: true, MAC: "02:00:00:00:00:01", Source4: netip.MustParseAddr("10.0.0.1"), Source6: netip.MustParseAddr("fe80::1"),
	}})
	n.Step(now, node.CheckChanged{Check: "nginx", Healthy: true})
	n.Step(now.Add(5*time.Second), node.Elapsed{})
	n.Step(now.Add(5*time.Second), node.AddressesSet{Instance: "web", Request: 1})
	return n
}

// aState is one that can be gone on with.
func aState(t testing.TB, now time.Time) *sealedState {
	t.Helper()
	return &sealedState{
		Version: "1.0", PID: 7, Clock: time.Minute, Started: now, Node: aNode(t, now).Seal(now.Add(5 * time.Second)),
		Checks: []checks.Result{{Check: "nginx", Known: true, Healthy: true, At: now}},
		Hooks:  []node.HookReport{{Name: "tell", Instance: "web", At: now}},
		Queues: []notify.Sealed{{Name: "web", Waiting: []notify.SealedTransition{{Transition: notify.Transition{Instance: "web", State: notify.Master, At: now}}}}},
	}
}

// TestSealedInstants carries instants over to a clock that shows another time: all are as long ago as they were, whatever the
// wall clock did before.
func TestSealedInstants(t *testing.T) {
	const ago, passed = 20 * time.Second, 80 * time.Millisecond
	s := aState(t, time.Now().Add(-ago))
	sealedAt := s.Node.At
	deadline := s.Node.Instances[0].Members[0].Machine.Deadline.Sub(sealedAt)
	text, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	read, err := decodeState(text, func() (time.Duration, error) { return time.Minute + passed, nil })
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if away := now.Sub(read.Node.At); away < passed || away > passed+time.Second {
		t.Errorf("it was sealed %s ago, want %s", away, passed)
	}
	for what, at := range map[string]time.Time{"Started": read.Started, "Hooks": read.Hooks[0].At, "Checks": read.Checks[0].At, "Queues": read.Queues[0].Waiting[0].At} {
		if d := read.Node.At.Sub(at); d != ago-15*time.Second {
			t.Errorf("%s is %s before the sealing, want %s", what, d, ago-15*time.Second)
		}
	}
	if d := read.Node.Instances[0].Members[0].Machine.Deadline.Sub(read.Node.At); d != deadline {
		t.Errorf("the master's next advert is due %s after the sealing, want %s", d, deadline)
	}
	if !read.Node.Instances[0].Failure.Retry.IsZero() {
		t.Error("an instant that is none became one")
	}
	if strings.Contains(string(text), aKey) {
		t.Error("the state holds a key")
	}
}

func TestSealedStatesThatAreRefused(t *testing.T) {
	clock := func() (time.Duration, error) { return time.Minute, nil }
	text, err := aState(t, time.Now()).encode()
	if err != nil {
		t.Fatal(err)
	}
	format := func(more int) string { return fmt.Sprintf("format %d\n", sealedFormat+more) }
	for _, tt := range []struct{ name, from, to, want string }{
		{"nothing", string(text), "", "it is none"},
		{"garbage", `{"Version"`, `"Version"`, "cannot unmarshal"},
		{"an older format", format(0), format(-1), fmt.Sprintf("the sealed state has format %d, this program's is %d: restart the daemon, which hands over first", sealedFormat-1, sealedFormat)},
		{"a newer format", format(0), format(1), fmt.Sprintf("the sealed state has format %d, this program's is %d: restart the daemon, which hands over first", sealedFormat+1, sealedFormat)},
		{"another run of the machine", `"Clock":60000000000`, `"Clock":70000000000`, "it is of another run of this machine"},
		{"a field that is not known", `"Version":"1.0"`, `"Future":1`, `unknown field "Future"`},
		{"an impossible instance", `"VRID":71`, `"VRID":0`, `instance "web": VRID 0`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := strings.Replace(string(text), tt.from, tt.to, 1)
			if broken == string(text) {
				t.Fatalf("no %s in %s", tt.from, text)
			}
			if _, err := decodeState([]byte(broken), clock); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// FuzzSealedState reads states of another hand: they are refused, or a node can run with them until every address was handed over.
func FuzzSealedState(f *testing.F) {
	text, err := aState(f, time.Unix(1000, 0)).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	for _, change := range [][2]string{
		{`"State":"master"`, `"State":"backup"`}, {`"Holding":true`, `"Holding":false`}, {`"Groups":null`, `"Groups":[{"Name":"edge","Instances":["web"]}]`},
		{`"Fates":[`, `"Fates":[{},`}, {`"Family":0`, `"Family":1`}, {`"Learned":1000000000`, `"Learned":-1`}, {`"To":"224.0.0.18"`, `"To":"ff02::12"`},
		{`"Shadow":false`, `"Shadow":true`}, {`"Members":[`, `"Members":[{},`},
	} {
		f.Add([]byte(strings.ReplaceAll(string(text), change[0], change[1])))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if bytes.HasPrefix(content, []byte("{")) { // the files of testdata outlive a format where they can
			content = append(fmt.Appendf(nil, header, sealedFormat), content...)
		}
		survives(t, content)
	})
}

// survives reads a state: it is refused, or a node can run with it until every address was handed over.
func survives(t *testing.T, content []byte) {
	s, err := decodeState(content, func() (time.Duration, error) { return time.Minute + time.Second, nil })
	if err != nil {
		return
	}
	now := time.Now()
	n, _, err := node.Restore(&s.Node, now)
	if err != nil {
		return
	}
	n.Status(now)
	n.Seal(now)
	for _, l := range s.Node.Links {
		n.Step(now, node.LinkChanged{Link: l.Link})
	}
	n.Step(now, node.CheckChanged{Check: "nginx", Reason: "503"})
	n.Step(now, node.Reconfigured{Config: s.Node.Config})
	n.Step(now, node.Stop{})
	for range 100 {
		at, ok := n.Deadline()
		if !ok || n.Stopped() {
			return
		}
		if at.After(now) {
			now = at
		}
		n.Step(now, node.Elapsed{})
	}
}

// TestSealedStatesOfAnotherHand puts impossible values in the place of each one: nothing of it is fatal.
func TestSealedStatesOfAnotherHand(t *testing.T) {
	text, err := aState(t, time.Now()).encode()
	if err != nil {
		t.Fatal(err)
	}
	var state any
	if err := json.Unmarshal(text[bytes.IndexByte(text, '\n'):], &state); err != nil {
		t.Fatal(err)
	}
	tried := 0
	try := func(what string) {
		changed, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if r := recover(); r != nil {
				t.Errorf("%s: %v\n%s", what, r, debug.Stack())
			}
		}()
		survives(t, append(fmt.Appendf(nil, header, sealedFormat), changed...))
		tried++
	}
	nasty := []any{nil, true, 0.0, -1.0, 1.0, 2.0, 3.0, 255.0, 1e18, "", "x", "init", "leaving", "ff02::1", "0001-01-01T00:00:00Z", "2262-01-01T00:00:00Z", []any{}, map[string]any{}}
	var spoil func(path string, v any, set func(any))
	spoil = func(path string, v any, set func(any)) {
		for _, bad := range nasty {
			set(bad)
			try(fmt.Sprintf("%s = %v", path, bad))
		}
		set(v)
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				spoil(path+"."+key, value, func(x any) { v[key] = x })
			}
		case []any:
			for k, value := range v {
				spoil(fmt.Sprintf("%s[%d]", path, k), value, func(x any) { v[k] = x })
			}
			set(append(slices.Clone(v), v...))
			try(path + " twice")
			set(v)
		}
	}
	spoil("state", state, func(x any) { state = x })
	if tried < 3000 {
		t.Errorf("%d states were tried, want one for each value", tried)
	}
}
