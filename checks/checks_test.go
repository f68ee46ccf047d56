package checks

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKindsAreFoundByName(t *testing.T) {
	for _, name := range []string{"http", "tcp", "process", "script"} {
		if k, ok := KindNamed(name); !ok || k.Name != name || k.Doc == "" {
			t.Errorf("%s: %+v, %t", name, k, ok)
		}
	}
	if _, ok := KindNamed("ping"); ok {
		t.Error("ping is found")
	}
}

func TestEveryOptionIsDocumented(t *testing.T) {
	structs := map[string]any{"timing": &Timing{}}
	for _, k := range Kinds {
		structs[k.Name] = k.New()
	}
	for name, options := range structs {
		for field := range reflect.TypeOf(options).Elem().Fields() {
			if field.Tag.Get("hcl") == "" || field.Tag.Get("doc") == "" {
				t.Errorf("%s: field %s has no hcl or doc tag", name, field.Name)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	want := &HTTPOptions{Method: "GET", ExpectStatus: []StatusRange{{200, 399}}}
	k, _ := KindNamed("http")
	if diff := cmp.Diff(want, k.New()); diff != "" {
		t.Errorf("http (-want +got):\n%s", diff)
	}
	type all struct {
		S string        `default:"a"`
		I int           `default:"7"`
		B bool          `default:"true"`
		F float64       `default:"0.5"`
		D time.Duration `default:"250ms"`
		L []int         `default:"1, 2"`
		U StatusRange   `default:"404"`
		N string
	}
	var got all
	got.N = "kept"
	SetDefaults(&got)
	if diff := cmp.Diff(all{"a", 7, true, 0.5, 250 * time.Millisecond, []int{1, 2}, StatusRange{404, 404}, "kept"}, got); diff != "" {
		t.Errorf("every type (-want +got):\n%s", diff)
	}
}

func TestCompleteTiming(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name, kind string
		in, want   Timing
	}{
		{"http", "http", Timing{}, Timing{1000 * ms, 1000 * ms, 200 * ms, 2, 2}},
		{"process", "process", Timing{}, Timing{1000 * ms, 1000 * ms, 10 * ms, 2, 2}},
		{"a long interval has no long timeout", "tcp", Timing{Interval: 10000 * ms}, Timing{10000 * ms, 1000 * ms, 2000 * ms, 2, 2}},
		{"a short interval shortens the rest", "script", Timing{Interval: 100 * ms}, Timing{100 * ms, 100 * ms, 20 * ms, 2, 2}},
		{"what is set stays", "http", Timing{2000 * ms, 300 * ms, 50 * ms, 3, 1}, Timing{2000 * ms, 300 * ms, 50 * ms, 3, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, _ := KindNamed(tt.kind)
			got := k.Complete(tt.in)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if errs := got.Validate(); errs != nil {
				t.Errorf("not valid: %v", errs)
			}
		})
	}
}

func TestImpossibleTimingIsNamed(t *testing.T) {
	got := Timing{Interval: time.Millisecond, Timeout: time.Second, PendingInterval: time.Hour, Rise: -1, Fall: 101}.Validate()
	want := []OptionError{
		{"interval", "1ms is too short; the least is 10ms"},
		{"timeout", "1s is not above 0s and at most the interval, 1ms"},
		{"pending_interval", "1h0m0s is not between 1ms and the interval, 1ms"},
		{"rise", "-1 is not between 1 and 100"},
		{"fall", "101 is not between 1 and 100"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatusRanges(t *testing.T) {
	for text, want := range map[string]StatusRange{"200": {200, 200}, "200-399": {200, 399}, "100-599": {100, 599}} {
		var got StatusRange
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-", "200-", "-200", "399-200", "99", "600", "+200", "0200", "2xx", "200-300-400", " 200"} {
		if err := new(StatusRange).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func FuzzStatusRange(f *testing.F) {
	for _, seed := range []string{"200", "200-399", "-1", "200--1", "99999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r, again StatusRange
		if r.UnmarshalText([]byte(text)) != nil {
			return
		}
		if r.Low < 100 || r.High > 599 || r.Low > r.High {
			t.Errorf("%q gives %+v", text, r)
		}
		if err := again.UnmarshalText([]byte(r.String())); err != nil || again != r {
			t.Errorf("%q -> %s -> %+v, %v", text, r, again, err)
		}
	})
}
