package config

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A directory is the whole of it, which a daemon could not run without an instance; a file alone is a part.
func TestADirectoryWithoutAnInstance(t *testing.T) {
	path := filepath.Join(write(t, map[string]string{"understudy.hcl": `check "process" "nginx" { pid_file = "/run/nginx.pid" }`}), "understudy.hcl")
	if r := Validate([]string{path}, nil, Options{Node: "lb1"}); r.Count(Error) != 0 {
		t.Errorf("validate says of a fragment\n%s", r.Text())
	}
	if r := Validate([]string{filepath.Dir(path)}, nil, Options{Node: "lb1"}); r.Count(Error) != 1 || !strings.Contains(r.Text(), "no instance is configured") {
		t.Errorf("validate says of a directory\n%s", r.Text())
	}
}

func TestAFragmentWithAnotherName(t *testing.T) {
	dir := write(t, map[string]string{"understudy.hcl": "", "conf.d/web.conf": "instance", "conf.d/web.hcl~": "", "checks.d/README": ""})
	if r := Validate([]string{dir}, nil, Options{Node: "lb1"}); r.Count(Warning) != 1 || !strings.Contains(r.Text(), "conf.d/web.conf:1:1: warning: this file is not read; name it *.hcl") {
		t.Errorf("validate says\n%s", r.Text())
	}
}

func TestWhichNodesAreValidated(t *testing.T) {
	const text = `
instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100, lb3 = 90 }[hostname]
  addresses = ["192.0.2.10"]
  expect "lb1" {
  }
  expect "lb2" {
  }
}
`
	tests := []struct {
		name  string
		node  string
		nodes []string
		want  []string
	}{
		{"this one and those in expect", "lb1", nil, []string{"lb1", "lb2"}},
		{"this one first", "lb3", nil, []string{"lb3", "lb1", "lb2"}},
		{"those that are asked for, once", "buildbox", []string{"lb2", "lb1", "lb2"}, []string{"lb2", "lb1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Validate([]string{writeFile(t, text)}, tt.nodes, Options{Node: tt.node})
			if diff := cmp.Diff(tt.want, r.Nodes); diff != "" || !r.OK(true) {
				t.Errorf("nodes (-want +got):\n%s\n%s", diff, r.Text())
			}
		})
	}
	t.Run("a host that no map knows", func(t *testing.T) {
		r := Validate([]string{writeFile(t, text)}, nil, Options{Node: "buildbox"})
		if r.OK(false) || r.Count(Error) != 1 || !strings.Contains(r.Text(), `5:49: error: on buildbox: node "buildbox" is not in {lb1, lb2, lb3}; write this host's name there, or say which of them it is: --node NAME (UNDERSTUDY_OPTIONS of the units)`) {
			t.Errorf("validate says\n%s", r.Text())
		}
	})
	t.Run("a name that no node can have", func(t *testing.T) {
		r := Validate([]string{writeFile(t, text)}, []string{"lb1", "lb 2"}, Options{Node: "lb1"})
		if want := `error: node name is "lb 2"; allowed: letters, digits, _ . and -, at most 64 of them; use --node NAME`; !strings.HasPrefix(r.Text(), want) {
			t.Errorf("validate says\n%swant %s", r.Text(), want)
		}
	})
	t.Run("a host in expect for which the file has mistakes", func(t *testing.T) {
		r := Validate([]string{writeFile(t, strings.Replace(text, "lb2 = 100, ", "", 1))}, []string{"lb1"}, Options{Node: "lb1"})
		want := `error: expect "lb2" has no priority, and these files have mistakes for that host; write its priority, or see validate --node lb2`
		if r.Count(Error) != 1 || !strings.Contains(r.Text(), want) {
			t.Errorf("validate says\n%swant %s", r.Text(), want)
		}
	})
}

func TestAFragmentIsValid(t *testing.T) {
	hook := "notify \"nginx\" \"reload\" {\n on = [\"master\"]\n instances = [\"web\"]\n}\n"
	tests := []struct {
		name, text string
		ok         bool
		note       string
	}{
		{"nothing", "", true, ""},
		{"only checks", checkNamed("a"), true, ""},
		{"only settings", "log {\n}\n", true, ""},
		{"hooks of an instance that is elsewhere", hook, true, `instance "web" is elsewhere; not checked: these files hold none`},
		{"an instance with checks that are elsewhere", with(`checks = ["nginx"]`), true, `check "nginx" is elsewhere; not checked: these files hold none`},
		{"a wrong name among those that are here", with(`checks = ["nginx"]`) + checkNamed("ngnix"), false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Validate([]string{writeFile(t, tt.text)}, nil, Options{Node: "lb1"})
			if r.OK(false) != tt.ok || !strings.Contains(r.Text(), tt.note) {
				t.Errorf("OK = %v, want %v with %q:\n%s", r.OK(false), tt.ok, tt.note, r.Text())
			}
		})
	}
	t.Run("a directory of fragments", func(t *testing.T) {
		if r := Validate([]string{write(t, map[string]string{"reload.hcl": hook})}, nil, Options{Node: "lb1"}); !r.OK(false) {
			t.Errorf("validate says\n%s", r.Text())
		}
	})
	t.Run("but a directory is the whole", func(t *testing.T) {
		r := Validate([]string{write(t, map[string]string{"understudy.hcl": with(`checks = ["nginx"]`)})}, nil, Options{Node: "lb1"})
		if want := `error: no check is named "nginx"; there is none`; !strings.Contains(r.Text(), want) {
			t.Errorf("validate says\n%swant %s", r.Text(), want)
		}
	})
}

func TestNotesFailNothing(t *testing.T) {
	r := Validate([]string{writeFile(t, minimal)}, nil, Options{Node: "lb1"})
	if want := `every host on eth0 is a peer of "web": it has neither peers nor auth`; len(r.Findings) != 1 || r.Findings[0].Severity != Note ||
		r.Findings[0].Summary != want || !r.OK(true) {
		t.Errorf("validate says\n%swant a note: %s", r.Text(), want)
	}
}

// A check is bound on purpose as soon as one instance says which checks it has.
func TestChecksThatAreBoundOnPurpose(t *testing.T) {
	text := with(`checks = ["a"]`) + one("inside", "eth1", 72, `"10.0.0.10"`) + checkNamed("a")
	if r := Validate([]string{writeFile(t, text)}, nil, Options{Node: "lb1"}); !r.OK(true) {
		t.Errorf("validate says\n%s", r.Text())
	}
}

func TestReportAsJSON(t *testing.T) {
	path := writeFile(t, with(`dead_adverts = { lb1 = 3, lb2 = 300 }[hostname]`, "expect \"lb2\" {\n priority = 100\n}"))
	text, err := Validate([]string{path}, nil, Options{Node: "lb1"}).JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	list, _ := got["findings"].([]any)
	at := slices.IndexFunc(list, func(f any) bool { return f.(map[string]any)["severity"] == "error" })
	if at < 0 {
		t.Fatalf("no error in %s", text)
	}
	want := map[string]any{
		"severity": "error", "file": path, "line": 6.0, "column": 16.0, "summary": "dead_adverts is 300", "detail": "allowed: 2..100",
		"nodes": []any{"lb2"}, "source": "dead_adverts = { lb1 = 3, lb2 = 300 }[hostname]",
	}
	if diff := cmp.Diff(want, list[at]); diff != "" {
		t.Errorf("the error (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{"lb1", "lb2"}, got["nodes"]); diff != "" || got["errors"] != 1.0 || got["warnings"] != 0.0 {
		t.Errorf("nodes (-want +got):\n%s\n%s", diff, text)
	}
}

func TestEveryValidFileIsValid(t *testing.T) {
	for _, path := range corpus(t, "valid") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			r := Validate([]string{path}, nil, Options{Node: "lb1", Getenv: noEnvironment})
			if !r.OK(false) {
				t.Errorf("validate says\n%s", r.Text())
			}
		})
	}
}

func TestALowMinTTLIsNoted(t *testing.T) {
	for ttl, want := range map[string]string{"250": `whoever is up to 5 routers away can send adverts to "web" in a peer's name`, "255": ""} {
		r := Validate([]string{writeFile(t, with(`peers = ["10.0.0.11", "10.0.0.12"]`, "min_ttl = "+ttl))}, []string{"lb1"}, Options{})
		if got := r.Text(); !r.OK(true) || strings.Contains(got, "routers away") != (want != "") || !strings.Contains(got, want) {
			t.Errorf("with %s validate says\n%swant %q", ttl, got, want)
		}
	}
}
