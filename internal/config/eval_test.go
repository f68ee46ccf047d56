package config

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestExpressions evaluates what may be written for the interface of an instance, on lb1.
func TestExpressions(t *testing.T) {
	dir := write(t, map[string]string{"conf.d/interface": " eth3\n", "outside": "eth4"})
	getenv := func(name string) (string, bool) {
		if name == "VIP_INTERFACE" {
			return "eth1", true
		}
		return "", false
	}
	tests := []struct {
		name, expr, want string
	}{
		{"the node's name", `hostname`, "lb1"},
		{"a map of hosts", `{ lb1 = "eth8", lb2 = "eth9" }[hostname]`, "eth8"},
		{"a conditional", `hostname == "lb1" ? "eth8" : "eth9"`, "eth8"},
		{"a template", `"${hostname}-eth"`, "lb1-eth"},
		{"lookup with a host that is not there", `lookup({ lb2 = "eth9" }, hostname, "eth0")`, "eth0"},
		{"lookup with a host that is there", `lookup({ lb1 = "eth9" }, hostname, "eth0")`, "eth9"},
		{"try", `try({ lb2 = "eth9" }[hostname], "eth0")`, "eth0"},
		{"can", `can({ lb2 = "eth9" }[hostname]) ? "yes" : "no"`, "no"},
		{"the environment", `env("VIP_INTERFACE")`, "eth1"},
		{"a default for the environment", `env("OTHER", "eth2")`, "eth2"},
		{"a default that is not needed", `env("VIP_INTERFACE", "eth2")`, "eth1"},
		{"a file relative to the one that calls", `trimspace(file("interface"))`, "eth3"},
		{"a file further up", `file("../outside")`, "eth4"},
		{"a file by its absolute path", `file("` + filepath.Join(dir, "outside") + `")`, "eth4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := read([]string{dir})
			text := strings.Replace(minimal, `"eth0"`, tt.expr, 1)
			file, diags := parse(filepath.Join(dir, "conf.d", "web.hcl"), []byte(text))
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			files.bodies, files.found, files.broken = append(files.bodies, file), nil, false
			v := evaluate(files, loader{node: "lb1", getenv: getenv, complete: true})
			if len(v.found) > 0 {
				t.Fatalf("evaluate %s:\n%s", tt.expr, format(v.found, nil))
			}
			if got := v.config.Instances[0].Interface; got != tt.want {
				t.Errorf("%s = %q, want %q", tt.expr, got, tt.want)
			}
		})
	}
}

// What file read belongs to the configuration: a change of it is a change of the configuration.
func TestAFileThatIsReadIsASource(t *testing.T) {
	dir := write(t, map[string]string{"web.hcl": strings.Replace(minimal, `"eth0"`, `file("interface")`, 1), "interface": "eth3"})
	c, found := Load([]string{filepath.Join(dir, "web.hcl")}, Options{Node: "lb1"})
	if c == nil {
		t.Fatal(found.Text())
	}
	if n := len(found.Sources); n != 2 || found.Sources[1].Path != filepath.Join(dir, "interface") || string(found.Sources[1].Bytes) != "eth3" {
		t.Errorf("Sources = %q, want the configuration and the file", found.Sources)
	}
}

func TestTheMessageOfAMissingHost(t *testing.T) {
	path := writeFile(t, with(`dead_adverts = { lb1 = 3, lb2 = 3 }[hostname]`))
	_, found := Load([]string{path}, Options{Node: "buildbox"})
	want := path + `:6:36: error: node "buildbox" is not in {lb1, lb2}; write this host's name there, or say which of them it is: --node NAME (UNDERSTUDY_OPTIONS of the units)` + "\n    6 | dead_adverts = { lb1 = 3, lb2 = 3 }[hostname]\n"
	if got := found.Text(); got != want {
		t.Errorf("Load says %q, want %q", got, want)
	}
}
