package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/notify"
)

type word string

// everyType has a field of each type that options may have.
type everyType struct {
	Text     string              `hcl:"text,optional"`
	Word     word                `hcl:"word,optional"`
	Words    []word              `hcl:"words,optional"`
	Int      int                 `hcl:"int,optional"`
	Ints     []int               `hcl:"ints,optional"`
	Float    float64             `hcl:"float,optional"`
	Bool     bool                `hcl:"bool,optional"`
	Duration time.Duration       `hcl:"duration,optional"`
	Map      map[string]string   `hcl:"map,optional"`
	Lists    map[string][]string `hcl:"lists,optional"`
	Addr     netip.Addr          `hcl:"addr,optional"`
	Addrs    []netip.Addr        `hcl:"addrs,optional"`
	untagged int
}

func decodeText(t *testing.T, text string, target any) (block, findings) {
	t.Helper()
	file, diags := parse("test.hcl", []byte(text))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	l := loader{node: "lb1", getenv: noEnvironment, files: new(files), contexts: map[string]*hcl.EvalContext{}}
	b := l.decode(&hcl.Block{Type: "test", Body: file.Body}, "test", nil, target)
	return b, l.found
}

func TestDecodeEveryType(t *testing.T) {
	got := everyType{untagged: 1}
	_, found := decodeText(t, `
text     = "a"
word     = "b"
words    = ["c", "d"]
int      = "7"
ints     = [200, 301]
float    = 1.5
bool     = true
duration = "1m30s"
map      = { "X-Key" = "v", "X-None" = null, "X-Number" = 5 }
lists    = { "X" = ["a", "b"] }
addr     = "192.0.2.1"
addrs    = ["2001:db8::1"]
`, &got)
	if len(found) > 0 {
		t.Fatal(format(found, nil))
	}
	want := everyType{
		Text: "a", Word: "b", Words: []word{"c", "d"}, Int: 7, Ints: []int{200, 301}, Float: 1.5, Bool: true, Duration: 90 * time.Second,
		Map: map[string]string{"X-Key": "v", "X-Number": "5"}, Lists: map[string][]string{"X": {"a", "b"}},
		Addr: netip.MustParseAddr("192.0.2.1"), Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}, untagged: 1,
	}
	if diff := cmp.Diff(want, got, ignoreAddresses, cmp.AllowUnexported(everyType{})); diff != "" {
		t.Errorf("decode (-want +got):\n%s", diff)
	}
}

func TestDecodeSaysWhatIsWrongAndWhere(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"a text", `text = {}`, `test.hcl:1:8: error: text is a map; allowed: a text in double quotes`},
		{"an element of another type", `ints = [1, "x"]`, `test.hcl:1:12: error: ints holds "x"; allowed: a number`},
		{"an element of a computed list", `ints = [for i in ["1", "x"] : i]`, `test.hcl:1:8: error: ints holds "x"; allowed: a number`},
		{"an element after null", `ints = [null, 1, 1.5]`, `test.hcl:1:18: error: ints holds 1.5; allowed: a whole number`},
		{"a list for a map", `map = ["a"]`, `test.hcl:1:7: error: map is a list; allowed: a map, such as { "Name" = "value" }`},
		{"a value of a map", `map = { a = [1] }`, `test.hcl:1:7: error: map holds a list for "a"; allowed: a text in double quotes`},
		{"an address", `addr = "192.0.2.300"`, `test.hcl:1:8: error: addr is "192.0.2.300"; ParseAddr("192.0.2.300"): IPv4 field has value >255`},
		{"an address that is a list", `addr = ["192.0.2.3"]`, `test.hcl:1:8: error: addr is a list; allowed: a text in double quotes`},
		{"a float", `float = "x"`, `test.hcl:1:9: error: float is "x"; allowed: a number`},
		{"a duration without a unit", `duration = "10"`, `test.hcl:1:12: error: duration is "10"; allowed: a duration with its unit, such as "250ms", "1.5s" or "2m"`},
		{"a text that is long", `int = "` + strings.Repeat("x", 100) + `"`, `test.hcl:1:7: error: int is "` + strings.Repeat("x", 80) + `..."; allowed: a number`},
		{"a boolean", `int = true`, `test.hcl:1:7: error: int is true; allowed: a number`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, found := decodeText(t, tt.text, new(everyType))
			if len(found) != 1 || found[0].String() != tt.want {
				t.Fatalf("decode says %v, want %s", found, tt.want)
			}
			if name, _, _ := strings.Cut(tt.text, " "); !b.has(name) || b.usable(name) || b.sound() {
				t.Errorf("%s is taken as usable", name)
			}
		})
	}
}

// Options of a type that cannot be decoded would panic at the first file that uses them.
func TestEveryOptionCanBeDecoded(t *testing.T) {
	targets := map[string]any{"timing": new(checks.Timing), "settings": new(notify.Settings)}
	for _, k := range checks.Kinds {
		targets["check "+k.Name] = k.New()
	}
	for _, k := range notify.Kinds {
		targets["notify "+k.Name] = k.New()
	}
	for _, raw := range []any{new(rawInstance), new(rawEffect), new(rawExpect), new(rawAnnounce), new(rawAuth), new(rawKey), new(rawGroup),
		new(rawControl), new(rawReload), new(rawLog)} {
		targets[fmt.Sprintf("%T", raw)] = raw
	}
	for name, target := range targets {
		for _, f := range fieldsOf(target) {
			for _, value := range []string{`"a"`, `1`, `["a"]`, `{ a = "a" }`} {
				if f.doc == "" {
					t.Errorf("%s: %s has no doc", name, f.name)
				}
				decodeText(t, f.name+" = "+value, target)
			}
		}
	}
}
