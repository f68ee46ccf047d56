package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/notify"
	"github.com/understudy-ha/understudy/vrrp"
)

// minimal is the least that runs.
const minimal = `
instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
}
`

// write writes files into a new directory and returns it. Keys are paths in it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	return writeIn(t, t.TempDir(), files)
}

func writeIn(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	return filepath.Join(write(t, map[string]string{"test.hcl": text}), "test.hcl")
}

// load loads a text for lb1, and fails the test if that fails.
func load(t *testing.T, text string) *Config {
	t.Helper()
	c, found := Load([]string{writeFile(t, text)}, Options{Node: "lb1", Getenv: noEnvironment})
	if c == nil {
		t.Fatalf("load:\n%s", found.Text())
	}
	return c
}

var ignoreAddresses = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// defaultInstance is what minimal becomes.
func defaultInstance() node.Instance {
	return node.Instance{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3,
		Addresses: []node.Address{{IP: netip.MustParseAddr("192.0.2.10")}},
		Interval:  time.Second, DeadAdverts: 3, Preempt: true, Checksum: vrrp.ChecksumPseudoHeader, Lease: true,
		Announce: node.Announcing{Refresh: time.Minute},
		Checks:   map[string]node.Effect{}, MinTTL: 255,
	}
}

func TestLoadFillsInDefaults(t *testing.T) {
	got := load(t, minimal)
	want := &Config{
		Node:      "lb1",
		Instances: []node.Instance{defaultInstance()},
		Reload:    Reload{Watch: true},
		Log:       Log{Level: "info", Format: "text"},
	}
	if diff := cmp.Diff(want, got, ignoreAddresses, cmpopts.IgnoreFields(Config{}, "Files")); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

func TestLoadTheExampleOfTheDesign(t *testing.T) {
	for _, path := range []string{"testdata/valid/design.hcl", "testdata/valid/design.hcl.json"} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			c, found := Load([]string{path}, Options{Node: "lb2", Getenv: noEnvironment})
			if c == nil {
				t.Fatalf("load:\n%s", found.Text())
			}
			in := defaultInstance()
			in.Priority = 100
			in.Addresses = append(in.Addresses, node.Address{IP: netip.MustParseAddr("2001:db8::10")})
			in.Unadvertised = []node.Address{{IP: netip.MustParseAddr("198.51.100.7")}}
			in.Checks = map[string]node.Effect{"nginx": {OnFailure: node.Yield}, "listener": {OnFailure: node.Yield}}
			in.Auth = &vrrp.Auth{Active: 1, Window: 5 * time.Second, Keys: []vrrp.Key{{ID: 1, File: "/etc/understudy/web.key"}}} // not on this machine
			if diff := cmp.Diff([]node.Instance{in}, c.Instances, ignoreAddresses); diff != "" {
				t.Errorf("instances (-want +got):\n%s", diff)
			}
			var names []string
			for _, k := range c.Checks {
				names = append(names, k.Kind+" "+k.Name)
			}
			if diff := cmp.Diff([]string{"http nginx", "tcp listener", "process nginx-master", "script backends"}, names); diff != "" {
				t.Errorf("checks (-want +got):\n%s", diff)
			}
			want := checks.Timing{Interval: time.Second, Timeout: 500 * time.Millisecond, PendingInterval: 200 * time.Millisecond, Rise: 2, Fall: 2}
			if diff := cmp.Diff(want, c.Checks[0].Timing); diff != "" {
				t.Errorf("timing (-want +got):\n%s", diff)
			}
			if got := c.Checks[2].Timing.PendingInterval; got != 10*time.Millisecond {
				t.Errorf("pending_interval of a process = %v, want its kind's 10ms", got)
			}
			tell := notify.Settings{On: []notify.State{"master", "backup", "fault", "stop"}, Instances: []string{"web"}, Timeout: 10 * time.Second}
			if diff := cmp.Diff(tell, c.Hooks[1].Settings); diff != "" {
				t.Errorf("hook (-want +got):\n%s", diff)
			}
			if !c.Hooks[0].PerHost || c.Hooks[0].Kind != "nginx" {
				t.Errorf("hook = %+v, want nginx, once for the host", c.Hooks[0])
			}
			if c.Control.SteerGroup != "adm" || !c.Reload.Watch || c.Log.Format != "text" {
				t.Errorf("settings = %+v %+v %+v", c.Control, c.Reload, c.Log)
			}
		})
	}
}

func TestHookBuild(t *testing.T) {
	c := load(t, minimal+`notify "nginx" "reload" {
  on = ["master"]
}`)
	h, err := c.Hooks[0].Build()
	if err != nil {
		t.Fatal(err)
	}
	if h.Name != "reload" || h.Kind != "nginx" || !h.PerHost || h.Runner == nil || h.Settings.Timeout != 10*time.Second {
		t.Errorf("Build = %+v", h)
	}
}

// with is minimal with more lines in the instance.
func with(lines ...string) string {
	return strings.TrimSuffix(strings.TrimSpace(minimal), "}") + strings.Join(lines, "\n") + "\n}\n"
}

func TestLoadSettingsOfAnInstance(t *testing.T) {
	tests := []struct {
		name string
		text string
		want func(*node.Instance)
	}{
		{"version 2", with(`version = 2`, `advertise_interval = "2s"`), func(in *node.Instance) { in.Version, in.Interval = vrrp.V2, 2*time.Second }},
		{"the shortest interval", with(`advertise_interval = "10ms"`), func(in *node.Instance) { in.Interval = 10 * time.Millisecond }},
		{"the longest interval", with(`advertise_interval = "40.95s"`), func(in *node.Instance) { in.Interval = 40950 * time.Millisecond }},
		{"delays", with(`preempt_delay = "5m"`, `link_delay = "2s"`), func(in *node.Instance) { in.PreemptDelay, in.LinkDelay = 5*time.Minute, 2*time.Second }},
		{"no preemption", with(`preempt = false`), func(in *node.Instance) { in.Preempt = false }},
		{"strict, no lease", with(`strict = true`, `lease = false`), func(in *node.Instance) { in.Strict, in.Lease = true, false }},
		{"dead adverts", with(`dead_adverts = 100`), func(in *node.Instance) { in.DeadAdverts = 100 }},
		{"the RFC's checksum", with(`checksum = "rfc9568"`), func(in *node.Instance) { in.Checksum = vrrp.ChecksumMessage }},
		{"a virtual MAC", with(`mac = "virtual"`, `unadvertised = ["2001:db8::7"]`), func(in *node.Instance) {
			in.VirtualMAC, in.Unadvertised = true, []node.Address{{IP: netip.MustParseAddr("2001:db8::7")}}
		}},
		{"the written default MAC", with(`mac = "interface"`), func(in *node.Instance) {}},
		{"the written default checksum", with(`checksum = "pseudo-header"`), func(in *node.Instance) {}},
		{"peers", with(`peers = ["10.0.0.11", "lb2", "LB3.Example.", "10.0.0.14"]`, `min_ttl = 64`), func(in *node.Instance) {
			in.Peers = []node.Peer{{IP: netip.MustParseAddr("10.0.0.11")}, {Name: "lb2"}, {Name: "lb3.example."}, {IP: netip.MustParseAddr("10.0.0.14")}}
			in.MinTTL = 64
		}},
		{"a source", with(`source = { lb1 = "10.0.0.11", lb2 = "10.0.0.12" }[hostname]`), func(in *node.Instance) {
			in.Sources = []netip.Addr{netip.MustParseAddr("10.0.0.11")}
		}},
		{"a source of each family", strings.Replace(with(`source = ["fe80::11", "10.0.0.11"]`), `["192.0.2.10"]`, `["2001:db8::10", "192.0.2.10"]`, 1), func(in *node.Instance) {
			in.Addresses = []node.Address{{IP: netip.MustParseAddr("2001:db8::10")}, {IP: netip.MustParseAddr("192.0.2.10")}}
			in.Sources = []netip.Addr{netip.MustParseAddr("fe80::11"), netip.MustParseAddr("10.0.0.11")}
		}},
		{"no refresh, paced", with("announce {\n refresh = \"0s\"\n interval = \"70ms\"\n}"), func(in *node.Instance) {
			in.Announce = node.Announcing{Interval: 70 * time.Millisecond}
		}},
		{"null equals left out", with(`dead_adverts = null`, `preempt = null`, `checks = null`, `mac = null`), func(in *node.Instance) {}},
		{"null in a list", with(`unadvertised = [hostname == "lb2" ? "198.51.100.7" : null, "198.51.100.8"]`), func(in *node.Instance) {
			in.Unadvertised = []node.Address{{IP: netip.MustParseAddr("198.51.100.8")}}
		}},
		{"a prefix wants a route", with(`unadvertised = ["198.51.100.7/24", "198.51.100.9/32", "198.51.100.10/31", "2001:db8:0:1::2/64"]`), func(in *node.Instance) {
			in.Unadvertised = []node.Address{
				{IP: netip.MustParseAddr("198.51.100.7"), Network: netip.MustParsePrefix("198.51.100.0/24")},
				{IP: netip.MustParseAddr("198.51.100.9")},
				{IP: netip.MustParseAddr("198.51.100.10"), Network: netip.MustParsePrefix("198.51.100.10/31")},
				{IP: netip.MustParseAddr("2001:db8:0:1::2"), Network: netip.MustParsePrefix("2001:db8:0:1::/64")},
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := defaultInstance()
			tt.want(&want)
			if diff := cmp.Diff([]node.Instance{want}, load(t, tt.text).Instances, ignoreAddresses); diff != "" {
				t.Errorf("instances (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadBindsChecks(t *testing.T) {
	const all = `
check "tcp" "a" {
  address = "127.0.0.1:80"
}
check "tcp" "b" {
  address    = "127.0.0.1:80"
  on_failure = "release"
}
check "tcp" "c" {
  address = "127.0.0.1:80"
  weight  = -60
}
`
	tests := []struct {
		name, checks string
		want         map[string]node.Effect
	}{
		{"all by default", ``, map[string]node.Effect{"a": {OnFailure: node.Yield}, "b": {OnFailure: node.Release}, "c": {OnFailure: node.Weigh, Weight: -60}}},
		{"those that are written", `checks = ["b"]`, map[string]node.Effect{"b": {OnFailure: node.Release}}},
		{"none", `checks = []`, map[string]node.Effect{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, load(t, with(tt.checks)+all).Instances[0].Checks); diff != "" {
				t.Errorf("checks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestManyAddressesHaveNoLeaseByDefault(t *testing.T) {
	for _, tt := range []struct {
		name  string
		count int
		more  string
		want  bool
	}{
		{"64 with the instance's own", 63, "", true},
		{"65", 64, "", false},
		{"65, but it is wanted", 64, "lease = true", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var list []string
			for i := range tt.count {
				list = append(list, fmt.Sprintf("%q", fmt.Sprintf("10.0.0.%d", i+1)))
			}
			c := load(t, with("unadvertised = ["+strings.Join(list, ", ")+"]", tt.more))
			if got := c.Instances[0].Lease; got != tt.want {
				t.Errorf("Lease = %v, want %v", got, tt.want)
			}
			if said := len(c.Findings) == 1 && strings.Contains(c.Findings[0].Summary, `instance "web" has no lease: `); said == tt.want {
				t.Errorf("Load says %v", c.Findings)
			}
		})
	}
}

// 255 instances without a lease are one line, not 255.
func TestTheMissingLeaseIsSaidOnce(t *testing.T) {
	var text strings.Builder
	for i := range 65 {
		text.WriteString(strings.NewReplacer(`"web"`, fmt.Sprintf(`"web%d"`, i), "71", fmt.Sprint(i+1), "192.0.2.10", fmt.Sprintf("10.0.0.%d", i+1)).Replace(minimal))
	}
	c := load(t, text.String())
	want := `instance "web0" has no lease, nor have 64 others: this host has 65 addresses, more than 64`
	if len(c.Findings) != 1 || c.Findings[0].Summary != want || c.Instances[64].Lease {
		t.Errorf("Load says %v", c.Findings)
	}
}

func TestLoadNeedsAnInstance(t *testing.T) {
	c, found := Load([]string{writeFile(t, "log {\n}\n")}, Options{Node: "lb1"})
	want := "error: no instance is configured; write an instance block with interface, vrid, priority and addresses\n"
	if got := found.Text(); c != nil || got != want {
		t.Errorf("Load = %v, %q; want nil, %q", c, got, want)
	}
}

func TestLoadRefusesANodeNameThatNoNodeCanHave(t *testing.T) {
	_, found := Load([]string{writeFile(t, minimal)}, Options{Node: "lb/1"})
	if got, want := found.Text(), `error: node name is "lb/1"; allowed: letters, digits, _ . and -, at most 64 of them; use --node NAME`+"\n"; got != want {
		t.Errorf("Load says %q, want %q", got, want)
	}
}

func TestNodeIsTheHostNameByDefault(t *testing.T) {
	name, err := HostName()
	if err != nil {
		t.Fatal(err)
	}
	full, err := os.Hostname()
	if err != nil || strings.Contains(name, ".") || !strings.HasPrefix(full, name) {
		t.Fatalf("HostName = %q of %q (%v), want it up to the first dot", name, full, err)
	}
	c, found := Load([]string{writeFile(t, with(`unadvertised = []`))}, Options{})
	if c == nil || c.Node != name {
		t.Errorf("Load on %q: %v, %s", name, c, found.Text())
	}
}

func TestWhatThisMachineLacks(t *testing.T) {
	path := writeFile(t, minimal+`check "script" "backends" {
  command = ["/nonexistent/check"]
}`)
	for _, tt := range []struct {
		name     string
		here     bool
		severity Severity
	}{
		{"is an error where it runs", true, Error},
		{"is a warning elsewhere", false, Warning},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, found := Load([]string{path}, Options{Node: "lb1", OnThisHost: tt.here})
			if f := found.Findings; len(f) != 1 || f[0].Severity != tt.severity || f[0].Here == tt.here ||
				f[0].Summary != "this check cannot run: /nonexistent/check: no such file or directory" {
				t.Errorf("Load says %q", found.Text())
			}
		})
	}
}

// A bug must not end the daemon that reloads: here a body that is missing stands for it.
func TestAPanicIsAnError(t *testing.T) {
	v := evaluate(&files{bodies: []*hcl.File{nil}}, loader{node: "lb1", getenv: noEnvironment})
	if got := format(v.found, nil); !strings.HasPrefix(got, "error: reading the configuration panicked: ") {
		t.Errorf("evaluate says %q", got)
	}
}

func TestAKeyThatIsMissing(t *testing.T) {
	dir := write(t, map[string]string{"understudy.hcl": with("auth {\n  active = 1\n  key \"1\" {\n    file = \"web.key\"\n  }\n}")})
	want := filepath.Join(dir, "web.key") + " does not exist"
	for _, here := range []bool{true, false} {
		_, found := Load([]string{dir}, Options{Node: "lb1", OnThisHost: here})
		i := slices.IndexFunc(found.Findings, func(f Finding) bool { return f.Summary == want })
		if i < 0 || (found.Findings[i].Severity == Error) != here {
			t.Errorf("on this host %v: Load says\n%swant %s", here, found.Text(), want)
		}
	}
}

func TestFormatShowsTheLine(t *testing.T) {
	path := writeFile(t, with(`dead_adverts = 300`))
	_, found := Load([]string{path}, Options{Node: "lb1"})
	want := path + ":6:16: error: dead_adverts is 300; allowed: 2..100\n    6 | dead_adverts = 300\n"
	if diff := cmp.Diff(want, found.Text()); diff != "" {
		t.Errorf("Format (-want +got):\n%s", diff)
	}
}

func TestFormatDoesNotLetAFileSteerTheTerminal(t *testing.T) {
	_, found := Load([]string{writeFile(t, with("interface = \"\x1b[2Jeth0\"", `dead_adverts = 300`))}, Options{Node: "lb1"})
	if got := found.Text(); got == "" || strings.ContainsRune(got, '\x1b') {
		t.Errorf("Format = %q, want no escape in it", got)
	}
}
