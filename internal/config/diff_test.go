package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// one is an instance in one line: name, interface, vrid and addresses.
func one(name, iface string, vrid int, addresses string) string {
	return fmt.Sprintf("instance %q {\n interface = %q\n vrid = %d\n priority = 150\n addresses = [%s]\n checks = []\n}\n", name, iface, vrid, addresses)
}

func TestDiff(t *testing.T) {
	const (
		v4   = `"192.0.2.10"`
		v6   = `"2001:db8::10"`
		hook = "notify \"nginx\" \"reload\" {\n on = [\"master\"]\n}\n"
	)
	web, inside := one("web", "eth0", 71, v4), one("inside", "eth1", 71, `"10.0.0.10"`)
	tests := []struct {
		name, from, to, want string
	}{
		{"nothing", web + hook + checkNamed("a"), web + hook + checkNamed("a"), ""},
		{"only moved in the file, with a comment", web + inside + checkNamed("a"), "# new\n" + checkNamed("a") + inside + web, ""},
		{"an instance comes", web, web + inside, "instance inside added"},
		{"an instance goes", web + inside, inside, "instance web removed"},
		{"a setting", web, strings.Replace(web, "150", "100", 1), "instance web changed"},
		{"an address", web, strings.Replace(web, v4, v4+`, "192.0.2.11"`, 1), "instance web changed"},
		{"a family comes", web, one("web", "eth0", 71, v4+", "+v6), "instance web changed"},
		{"a family goes", one("web", "eth0", 71, v4+", "+v6), web, "instance web changed"},
		{"another name", web, strings.Replace(web, `"web"`, `"www"`, 1), "instance web renamed www"},
		{"names change places", web + inside, one("inside", "eth0", 71, v4) + one("web", "eth1", 71, `"10.0.0.10"`), "instance web renamed inside, instance inside renamed web"},
		{"another vrid is another router", web, strings.Replace(web, "71", "72", 1), "instance web replaced (eth0 vrid 71 IPv4 -> eth0 vrid 72 IPv4)"},
		{"another interface is another router", web, strings.Replace(web, "eth0", "eth2", 1), "instance web replaced (eth0 vrid 71 IPv4 -> eth2 vrid 71 IPv4)"},
		{"the other family is another router", web, one("web", "eth0", 71, v6), "instance web replaced (eth0 vrid 71 IPv4 -> eth0 vrid 71 IPv6)"},
		{
			"split by families: the half that keeps the name is the old one", one("web", "eth0", 71, v4+", "+v6),
			one("web6", "eth0", 71, v6) + web, "instance web6 added, instance web changed",
		},
		{"joined", one("web6", "eth0", 71, v6) + web, one("web", "eth0", 71, v4+", "+v6), "instance web6 removed, instance web changed"},
		{"a check comes and one goes", web + checkNamed("a"), web + checkNamed("b"), "check b added, check a removed"},
		{"a check's option", web + checkNamed("a"), web + strings.Replace(checkNamed("a"), ":80", ":81", 1), "check a changed"},
		{"a check's timing", web + checkNamed("a"), web + strings.Replace(checkNamed("a"), "{", "{\n fall = 3", 1), "check a changed"},
		{"a check's kind", web + checkNamed("a"), web + "check \"http\" \"a\" {\n url = \"http://127.0.0.1/\"\n}\n", "check a changed"},
		{"a hook comes", web, web + hook, "notify reload added"},
		{"a hook goes", web + hook, web, "notify reload removed"},
		{"a hook's states", web + hook, web + strings.Replace(hook, `"master"`, `"backup"`, 1), "notify reload changed"},
		{"a group comes", web + inside, web + inside + "group \"edge\" {\n instances = [\"web\", \"inside\"]\n}\n", "group edge added"},
		{
			"a group's order", web + inside + "group \"edge\" {\n instances = [\"web\", \"inside\"]\n}\n",
			web + inside + "group \"edge\" {\n instances = [\"inside\", \"web\"]\n}\n", "group edge changed",
		},
		{
			"the settings", web, web + "log {\n level = \"debug\"\n}\nreload {\n watch = false\n}\ncontrol {\n steer_group = \"adm\"\n}\n",
			"control changed, reload changed, log changed",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changes := Diff(load(t, tt.from), load(t, tt.to))
			if diff := cmp.Diff(tt.want, changes.Summary()); diff != "" {
				t.Errorf("Diff (-want +got):\n%s", diff)
			}
			if changes.Empty() != (tt.want == "") {
				t.Errorf("Empty = %v for %q", changes.Empty(), changes.Summary())
			}
		})
	}
}
