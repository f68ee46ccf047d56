package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// conclusions validates a text on lb1 and returns its errors and warnings.
func conclusions(t *testing.T, text string, nodes ...string) []string {
	t.Helper()
	r := Validate([]string{writeFile(t, text)}, nodes, Options{Node: "lb1", Getenv: noEnvironment})
	var said []string
	for _, f := range r.Findings {
		if f.Severity == Note {
			continue
		}
		f.Range.Filename = ""
		said = append(said, f.String())
	}
	return said
}

// pair is an instance with the given priority and expectations, and checks with the given effects.
func pair(priority, expect string, effects ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "instance \"web\" {\n interface = \"eth0\"\n vrid = 71\n priority = %s\n addresses = [\"192.0.2.10\"]\n%s\n}\n", priority, expect)
	for i, effect := range effects {
		fmt.Fprintf(&b, "check \"tcp\" \"c%d\" {\n address = \"127.0.0.1:80\"\n %s\n}\n", i+1, effect)
	}
	return b.String()
}

func TestTheProof(t *testing.T) {
	const (
		both   = `{ lb1 = 150, lb2 = 100 }[hostname]`
		three  = `{ lb1 = 150, lb2 = 140, lb3 = 100 }[hostname]`
		lb2    = "expect \"lb2\" {\n}"
		lb2and = "expect \"lb2\" {\n}\nexpect \"lb3\" {\n}"
		at100  = "expect \"lb2\" {\n priority = 100\n}"
		at2    = "expect \"lb2\" {\n priority = 2\n}"
	)
	tests := []struct {
		name string
		text string
		want []string
	}{
		{"yield always moves", pair(both, lb2, `on_failure = "yield"`), nil},
		{"release always moves", pair(both, lb2, `on_failure = "release"`), nil},
		{"yield moves an owner too", pair("{ lb1 = 255, lb2 = 100 }[hostname]", lb2, ``), nil},
		{"a weight that is enough by one", pair(both, lb2, `weight = -51`), nil},
		{"a weight that makes both equal", pair(both, lb2, `weight = -50`), []string{
			`error: on lb1: check "c1" (-50) cannot move "web": 150-50 = 100 is not below lb2's 100; use a weight below -50 or leave weight out`,
		}},
		{"a weight that is too small", pair(both, at100, `weight = -20`), []string{
			`error: on lb1: check "c1" (-20) cannot move "web": 150-20 = 130 is above lb2's 100; use a weight below -50 or leave weight out`,
		}},
		{"no weight is enough", pair("150", at2, `weight = -200`), []string{
			`error: on lb1: check "c1" (-200) cannot move "web": 150-200 = -50, clamped to 2, is not below lb2's 2; leave weight out`,
		}},
		{"two weights, each judged alone", pair(both, lb2, `weight = -30`, `weight = -60`), []string{
			`error: on lb1: check "c1" (-30) cannot move "web": 150-30 = 120 is above lb2's 100; use a weight below -50 or leave weight out`,
		}},
		{"a positive weight that is enough on both hosts", pair(both, lb2, `weight = 60`), nil},
		{"a positive weight that is too small", pair(both, lb2, `weight = 50`), []string{
			`error: on lb1: check "c1" (+50) cannot move "web": without its +50, 150 is not below lb2's 150; lower the priority or leave weight out: it must be below 150 while the check fails`,
		}},
		{"a positive weight that is lost in the clamp", pair("{ lb1 = 254, lb2 = 240 }[hostname]", lb2, `weight = 60`), []string{
			`error: on lb1: check "c1" (+60) cannot move "web": without its +60, 254 is not below lb2's 254; lower the priority or leave weight out: it must be below 254 while the check fails`,
			`warning: "web" has the same priority, 254, on lb1 and lb2; give them different ones, or the host with the higher address is preferred`,
		}},
		{"a positive weight of another check lifts a negative one", pair("150", at100, `weight = -60`, `weight = 20`), []string{
			`error: on lb1: check "c1" (-60) cannot move "web": 170-60 = 110 is above lb2's 100; use a weight below -70 or leave weight out`,
			`error: on lb1: check "c2" (+20) cannot move "web": without its +20, 150 is above lb2's 100; lower the priority or leave weight out: it must be below 100 while the check fails`,
		}},
		{"the written priority is the file's, and the weights come on top", pair(both, at100, `weight = 60`), nil},
		{"three hosts, enough for both others", pair(three, lb2and, `weight = -51`), nil},
		{"three hosts, enough for the better one only", pair(three, lb2and, `weight = -20`), []string{
			`warning: on lb1: check "c1" (-20) cannot move "web" to lb3 where only that host is healthy: 150-20 = 130 is above lb3's 100; use a weight below -50 or leave weight out`,
			`warning: on lb2: check "c1" (-20) cannot move "web" to lb3 where only that host is healthy: 140-20 = 120 is above lb3's 100; use a weight below -40 or leave weight out`,
		}},
		{"a weight without any expect", pair("150", "", `weight = -60`), []string{
			`warning: nothing shows that the weight of check "c1" moves "web"; write expect "HOST" { priority = ... } in instance "web", or leave weight out`,
		}},
		{"only its own expect", pair("150", "expect \"lb1\" {\n}", `weight = -60`), []string{
			`warning: nothing shows that the weight of check "c1" moves "web"; write expect "HOST" { priority = ... } in instance "web", or leave weight out`,
		}},
		{"equal priorities", pair("150", lb2), []string{
			`warning: "web" has the same priority, 150, on lb1 and lb2; give them different ones, or the host with the higher address is preferred`,
		}},
		{"an expect that the file contradicts", pair(both, "expect \"lb2\" {\n priority = 120\n}"), []string{
			`warning: expect "lb2" says 120, and these files give "web" 100 there; leave the priority out of expect where that host runs these files`,
		}},
		{"its own expect that the file contradicts", pair("150", "expect \"lb1\" {\n priority = 120\n}"), []string{
			`warning: expect "lb1" says 120, and these files give "web" 150 there; leave the priority out of expect where that host runs these files`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := slices.Sorted(slices.Values(conclusions(t, tt.text)))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("validate says (-want +got):\n%s", diff)
			}
		})
	}
}

// grouped is an instance with checks and one that has none but in whose group it is.
func grouped(outside, inside, effect string) string {
	return fmt.Sprintf(`
instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = %s
  addresses = ["192.0.2.10"]
  checks    = ["c1"]
  expect "lb2" {}
}

instance "inside" {
  interface = "eth1"
  vrid      = 72
  priority  = %s
  addresses = ["10.9.0.10"]
  checks    = []
}

group "edge" {
  instances = ["web", "inside"]
}

check "tcp" "c1" {
  address = "127.0.0.1:80"
  %s
}
`, outside, inside, effect)
}

func TestTheProofOfAGroup(t *testing.T) {
	const both = `{ lb1 = 150, lb2 = 100 }[hostname]`
	tests := []struct {
		name string
		text string
		want []string
	}{
		{"yield moves all", grouped(both, both, ``), nil},
		{"a weight on one instance moves all", grouped(both, both, `weight = -60`), nil},
		{"a weight that is too small", grouped(both, both, `weight = -20`), []string{
			`error: on lb1: check "c1" (-20) cannot move group "edge": 150-20 = 130 is above lb2's 100; use a weight below -50 or leave weight out`,
		}},
		{"the lowest counts on both hosts", grouped(both, `{ lb1 = 200, lb2 = 90 }[hostname]`, `weight = -55`), []string{
			`error: on lb1: check "c1" (-55) cannot move group "edge": 150-55 = 95 is above lb2's 90; use a weight below -60 or leave weight out`,
		}},
		{"the lowest is another instance's", grouped(both, `{ lb1 = 120, lb2 = 100 }[hostname]`, `weight = -20`), []string{
			`error: on lb1: check "c1" (-20) cannot move group "edge": instance "inside", which it does not apply to, has the lowest priority, and that is above lb2's 100; give instance "inside" the check too, or leave weight out`,
		}},
		{"equal by the lowest", grouped(both, `{ lb1 = 90, lb2 = 90 }[hostname]`, ``), []string{
			`warning: group "edge" has the same priority, 90, on lb1 and lb2; give them different ones, or the host with the higher address is preferred`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := slices.Sorted(slices.Values(conclusions(t, tt.text)))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("validate says (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTheProofAgreesWithEveryCombination holds the proof's short cut, one failing check and one best rival, against all
// combinations of failing checks.
func TestTheProofAgreesWithEveryCombination(t *testing.T) {
	weights := [][]int{{-60}, {-50, -60}, {20, -80}, {60, 30}, {-10, 40}, {200, -200}}
	for _, base := range []int{2, 100, 150, 250} {
		for _, rivalPriority := range []int{3, 90, 151, 254} {
			for _, ws := range weights {
				var effects []string
				for _, w := range ws {
					effects = append(effects, fmt.Sprintf("weight = %d", w))
				}
				text := pair(fmt.Sprint(base), fmt.Sprintf("expect \"lb2\" {\n priority = %d\n}", rivalPriority), effects...)
				refused := strings.Contains(strings.Join(conclusions(t, text, "lb1"), "\n"), "cannot move")
				if want := someCombinationStays(base, rivalPriority, ws); refused != want {
					t.Errorf("priority %d against %d with weights %v: refused %v, want %v", base, rivalPriority, ws, refused, want)
				}
			}
		}
	}
}

// someCombinationStays tries every set of failing checks that is not empty.
func someCombinationStays(base, rivalPriority int, weights []int) bool {
	for failing := 1; failing < 1<<len(weights); failing++ {
		p := base
		for i, w := range weights {
			if ill := failing&(1<<i) != 0; ill == (w < 0) {
				p += w
			}
		}
		if min(max(p, 2), 254) >= rivalPriority {
			return true
		}
	}
	return false
}
