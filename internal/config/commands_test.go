package config

import (
	"errors"
	"path/filepath"
	"testing"
)

// TestOneCommandOfABrokenConfiguration: what else is wrong with the files concerns nobody who wants one sound block.
func TestOneCommandOfABrokenConfiguration(t *testing.T) {
	dir := write(t, map[string]string{
		"understudy.hcl": commands + "instance \"web\" {\n  priority = { lb2 = 1 }[hostname]\n  nonsense = 1\n}\nbogus {}\nlog {\n  level = \"loud\"\n}\n",
		"conf.d/a.hcl":   "notify {{",
	})
	var asked []string
	c, err := LoadCommands([]string{dir}, Options{Node: "lb1", Getenv: noEnvironment}, func(path string) error {
		asked = append(asked, path)
		return nil
	})
	if err != nil || c.Node() != "lb1" || len(asked) < 4 {
		t.Fatalf("%v, node %q, asked about %q", err, c.Node(), asked)
	}
	if h, err := c.Hook("reload"); err != nil || h.Kind != "nginx" || h.Settings.User != "games" {
		t.Errorf("hook: %+v, %v", h, err)
	}
	if k, err := c.Check("backends"); err != nil || k.Timing.Timeout <= 0 {
		t.Errorf("check: %+v, %v", k, err)
	}
	if _, err := c.Hook("backends"); err == nil {
		t.Error("a check is found among the hooks")
	}
	if got := c.Log(); got != DefaultLog() || got.Level != "info" {
		t.Errorf("the log of a log block with mistakes is %+v", got)
	}
}

func TestTheFirstFileThatIsNotTrustedRefusesAll(t *testing.T) {
	dir := write(t, map[string]string{"understudy.hcl": commands, "conf.d/a.hcl": "", "conf.d/b.hcl": ""})
	refusal := errors.New("not this one")
	for _, name := range []string{"understudy.hcl", "conf.d", "conf.d/b.hcl"} {
		_, err := LoadCommands([]string{dir}, Options{Node: "lb1"}, func(path string) error {
			if path == filepath.Join(dir, name) {
				return refusal
			}
			return nil
		})
		if !errors.Is(err, refusal) {
			t.Errorf("with %s: %v", name, err)
		}
	}
	if _, err := LoadCommands([]string{dir}, Options{Node: "a b"}, nil); err == nil {
		t.Error("a node of that name is possible")
	}
}
