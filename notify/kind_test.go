package notify

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKinds(t *testing.T) {
	for _, k := range Kinds {
		t.Run(k.Name, func(t *testing.T) {
			if found, ok := KindNamed(k.Name); !ok || found.Doc != k.Doc || found.PerHost != k.PerHost {
				t.Errorf("KindNamed(%q) = %+v, %v", k.Name, found, ok)
			}
			if !strings.HasSuffix(k.Doc, ".") {
				t.Errorf("doc %q is no sentence", k.Doc)
			}
			if k.New() == k.New() {
				t.Error("New gives the same options twice")
			}
			checkTags(t, reflect.TypeOf(k.New()).Elem())
		})
	}
	if k, ok := KindNamed("webhook"); ok {
		t.Errorf("KindNamed finds a kind that is not there: %+v", k)
	}
	checkTags(t, reflect.TypeFor[Settings]())
}

// checkTags holds what the configuration's decoder and the manual rely on.
func checkTags(t *testing.T, options reflect.Type) {
	t.Helper()
	allowed := []reflect.Type{
		reflect.TypeFor[string](), reflect.TypeFor[int](), reflect.TypeFor[bool](), reflect.TypeFor[time.Duration](),
		reflect.TypeFor[[]string](), reflect.TypeFor[[]State](),
	}
	for f := range options.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("hcl"), ",")
		if name == "" || !strings.HasSuffix(f.Tag.Get("doc"), ".") {
			t.Errorf("%s.%s has tags %q, want hcl and doc, a sentence", options, f.Name, f.Tag)
		}
		known := false
		for _, a := range allowed {
			known = known || f.Type == a
		}
		if !known {
			t.Errorf("%s.%s has type %s, which the configuration does not decode", options, f.Name, f.Type)
		}
	}
}

func TestValidate(t *testing.T) {
	settings := func(change func(*Settings)) interface{ Validate() []OptionError } {
		s := Settings{On: []State{Master}, Timeout: time.Second}
		change(&s)
		return s
	}
	tests := []struct {
		name    string
		options interface{ Validate() []OptionError }
		want    []OptionError
	}{
		{"good settings", settings(func(s *Settings) { s.On, s.Instances = States, []string{"web"} }), nil},
		{"no state", settings(func(s *Settings) { s.On = nil }),
			[]OptionError{{"on", `names no state, so that the hook would never run; allowed are "master", "backup", "fault", "stop", "contention"`}}},
		{"keepalived's spelling, and a state twice", settings(func(s *Settings) { s.On = []State{"MASTER", Backup, Backup} }),
			[]OptionError{{"on", `"MASTER" is no state; allowed are "master", "backup", "fault", "stop", "contention"`}, {"on", `"backup" is written twice`}}},
		{"an instance twice", settings(func(s *Settings) { s.Instances = []string{"web", "web"} }),
			[]OptionError{{"instances", `"web" is written twice`}}},
		{"an empty list of instances", settings(func(s *Settings) { s.Instances = []string{} }),
			[]OptionError{{"instances", "is empty, so that the hook would never run; leave it out for all instances"}}},
		{"no timeout", settings(func(s *Settings) { s.Timeout = -time.Second }),
			[]OptionError{{"timeout", "-1s is not a duration above 0"}}},

		{"a good script", &ScriptOptions{Command: []string{"/etc/understudy/notify.d/tell", "-v", ""}}, nil},
		{"a program of PATH", &ScriptOptions{Command: []string{"systemctl", "start", "x"}}, nil},
		{"no command", &ScriptOptions{},
			[]OptionError{{"command", "is empty; write the program and its arguments as a list of strings"}}},
		{"an empty program", &ScriptOptions{Command: []string{""}}, []OptionError{{"command", "names no program"}}},
		{"a relative path", &ScriptOptions{Command: []string{"./tell.sh"}},
			[]OptionError{{"command", `"./tell.sh" is a relative path; write an absolute path, or a name to look up in PATH`}}},
		{"a NUL byte", &ScriptOptions{Command: []string{"tell", "a\x00"}},
			[]OptionError{{"command", `"a\x00" contains a NUL byte, which no program can be given`}}},

		{"good nginx options", &NginxOptions{Binary: "nginx", Config: "conf/lb.conf", Prefix: "/opt/nginx"}, nil},
		{"bad nginx options", &NginxOptions{Binary: "sbin/nginx", Config: "\x00", Prefix: "\x00"}, []OptionError{
			{"binary", `"sbin/nginx" is a relative path; write an absolute path, or a name to look up in PATH`},
			{"config", `"\x00" contains a NUL byte, which no program can be given`},
			{"prefix", `"\x00" contains a NUL byte, which no program can be given`},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.options.Validate()); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}
