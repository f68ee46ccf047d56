package config

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
)

// lacking needs what no machine has, and its text is doubtful.
const lacking = minimal + `
check "script" "backends" {
  command = ["/nonexistent/check"]
}
notify "script" "tell" {
  on      = ["master"]
  command = ["/nonexistent/tell"]
}
check "tcp" "listener" {
  address = "127.0.0.1:443"
  weight  = -60
}
`

// hereOf is what a report says of this machine, without the path of the one file.
func hereOf(r Report, path string) (said []string) {
	for _, f := range r.Findings {
		if f.Here {
			said = append(said, strings.TrimPrefix(f.String(), path+":"))
		}
	}
	return said
}

// TestWhichMachineIsMeant: what this one lacks is said where it is one of the nodes, and an error where it is said to be.
func TestWhichMachineIsMeant(t *testing.T) {
	const script, hook = "this check cannot run: /nonexistent/check: no such file or directory", "this hook cannot run: /nonexistent/tell: no such file or directory"
	warned := []string{"9:1: warning: on this host: " + script, "12:1: warning: on this host: " + hook}
	refused := []string{"9:1: error: on this host: " + script, "12:1: error: on this host: " + hook}
	tests := []struct {
		name  string
		nodes []string
		here  bool
		want  []string
	}{
		{"this one, without a word of it", nil, false, warned},
		{"this one", []string{"lb1"}, false, warned},
		{"this one among others", []string{"lb0", "lb1"}, false, warned},
		{"others", []string{"lb2", "lb3"}, false, nil},
		{"this one, to run it", nil, true, refused},
		{"this one among others, to run it", []string{"lb0", "lb1"}, true, refused},
		{"one by another name, to run it", []string{"lb2", "lb3"}, true, refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, lacking)
			r := Validate([]string{path}, tt.nodes, Options{Node: "lb1", Here: tt.here})
			if diff := cmp.Diff(tt.want, hereOf(r, path)); diff != "" {
				t.Errorf("said of this machine (-want +got):\n%s", diff)
			}
			lacking := len(tt.want)
			if tt.here {
				lacking = 0 // they are errors
			}
			if r.OK(false) == tt.here || r.Lacking() != lacking || r.Count(Warning) == lacking {
				t.Errorf("OK = %t, %d warnings of this machine, and want one of the text:\n%s", r.OK(false), r.Lacking(), r.Text())
			}
		})
	}
}

// TestWhatOnlyTheDaemonHas: systemd gives a credential to the service alone, so that its want is no fault of the machine.
func TestWhatOnlyTheDaemonHas(t *testing.T) {
	path := writeFile(t, withAuth(`active = 1`, `key "1" {`, `credential = "web.key"`, `}`))
	if r := Validate([]string{path}, nil, Options{Node: "lb1", Here: true, Getenv: noEnvironment}); !r.OK(false) || r.OK(true) || r.Lacking() != 0 {
		t.Errorf("validate says\n%swant a warning", r.Text())
	}
}

// TestInstancesAreJudged: whoever can ask the interfaces says which instances could not take part, of a configuration without a mistake.
func TestInstancesAreJudged(t *testing.T) {
	const down = `interface "eth0" is down (ip link set eth0 up)`
	tests := []struct {
		name, text string
		nodes      []string
		here       bool
		err        error
		want       string // of this machine
		asked      bool
	}{
		{"in fault", minimal, nil, false, nil, `3:15: warning: on this host: instance "web" would be in fault: ` + down, true},
		{"in fault, to run it", minimal, nil, true, nil, `3:15: error: on this host: instance "web" would be in fault: ` + down, true},
		{"an interface that is left out", strings.Replace(minimal, `"eth0"`, "null", 1), nil, false, nil, "", false},
		{"a mistake", with("dead_adverts = 300"), nil, false, nil, "", false},
		{"a fragment", "log {\n}\n", nil, false, nil, "", false},
		{"another machine", minimal, []string{"lb2"}, false, nil, "", false},
		{"the kernel says nothing", minimal, nil, true, errors.New("open netlink socket: no"), "error: on this host: the interfaces are not checked: open netlink socket: no", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path, asked := writeFile(t, tt.text), false
			r := Validate([]string{path}, tt.nodes, Options{Node: "lb1", Here: tt.here, Judge: func(c *Config) (map[string]string, error) {
				asked = true
				if tt.err != nil {
					return nil, tt.err
				}
				return map[string]string{c.Instances[0].Name: down}, nil
			}})
			if got := strings.Join(hereOf(r, path), "\n"); asked != tt.asked || got != tt.want {
				t.Errorf("asked: %t, want %t; said %q, want %q", asked, tt.asked, got, tt.want)
			}
		})
	}
}

// TestRemarksAreNotes: what a setting of this machine lets others do fails no validation, not even a strict one.
func TestRemarksAreNotes(t *testing.T) {
	judge := func(*Config) (map[string]string, error) { return nil, nil }
	remarks := func(c *Config) map[string]string { return map[string]string{c.Instances[0].Name: "anybody may"} }
	for _, tt := range []struct {
		nodes []string
		here  bool
		want  string
	}{{nil, false, `:2:1: note: on this host: instance "web": anybody may`}, {nil, true, `:2:1: note: on this host: instance "web": anybody may`}, {[]string{"lb2"}, false, ""}} {
		path := writeFile(t, minimal)
		r := Validate([]string{path}, tt.nodes, Options{Node: "lb1", Here: tt.here, Judge: judge, Remarks: remarks})
		if got := r.Text(); !r.OK(true) || r.Lacking() > 0 || strings.Contains(got, "anybody may") != (tt.want != "") || !strings.Contains(got, tt.want) {
			t.Errorf("for %v, here: %t: it says\n%s\nwant %q", tt.nodes, tt.here, got, tt.want)
		}
	}
}

// TestRootLooksForTheDaemon: root can read and run what the daemon, which is another user, cannot.
func TestRootLooksForTheDaemon(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for files of other users")
	}
	dir := commandtest.Dir(t)
	script := commandtest.Script(t, dir, "check", "true")
	conf, key, ca := filepath.Join(dir, mainFile), filepath.Join(dir, "web.key"), filepath.Join(dir, "ca.pem")
	text := withAuth("active = 1", `key "1" {`, fmt.Sprintf("file = %q", key), "}") + fmt.Sprintf(`
check "script" "own" {
  command = [%q]
}
check "http" "site" {
  url         = "https://127.0.0.1/"
  tls_ca_file = %q
}
`, script, ca)
	authority := httptest.NewTLSServer(nil)
	authority.Close()
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate().Raw}))
	for path, content := range map[string]string{conf: text, key: keyText, ca: certificate} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look := func(inPlace bool) (got []string) {
		v := evaluate(read([]string{conf}), loader{node: "lb1", getenv: noEnvironment, here: true, inPlace: inPlace, hands: hands{uid: 1}})
		for _, f := range v.found {
			got = append(got, strings.ReplaceAll(f.String(), dir, "DIR"))
		}
		return got
	}
	const (
		ofKey  = "DIR/understudy.hcl:9:8: warning: on this host: DIR/web.key cannot be read by the daemon, which is daemon; run: chown daemon DIR/web.key"
		ofCA   = "DIR/understudy.hcl:17:1: warning: on this host: DIR/ca.pem cannot be read by the daemon, which is daemon; run: chmod a+r DIR/ca.pem"
		ofConf = "DIR/understudy.hcl:1:1: warning: on this host: DIR/understudy.hcl cannot be read by the daemon, which is daemon; run: chgrp daemon DIR/understudy.hcl && chmod g+r DIR/understudy.hcl"
	)
	if diff := cmp.Diff([]string{ofKey, ofCA}, look(false)); diff != "" {
		t.Errorf("on its way to its place (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{ofKey, ofCA, ofConf}, look(true)); diff != "" {
		t.Errorf("in its place (-want +got):\n%s", diff)
	}
	err := errors.Join(os.Chown(key, 1, 1), os.Chown(script, 1, 1), os.Chmod(ca, 0o644), os.Chown(conf, 0, 1), os.Chmod(conf, 0o640))
	if err != nil {
		t.Fatal(err)
	}
	daemonUser = "daemon"
	t.Cleanup(func() { daemonUser = packagedUser })
	if got := look(true); got != nil {
		t.Errorf("as the messages say: %q", got)
	}
}

// TestTheHelperJudgesWhatIsInItsPlace: what it refuses as it is, and nothing of a file that is on its way.
func TestTheHelperJudgesWhatIsInItsPlace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for files that are its own")
	}
	conf := filepath.Join(commandtest.Dir(t), mainFile)
	text := minimal + "notify \"script\" \"tell\" {\n  on      = [\"master\"]\n  command = [\"/bin/true\"]\n}\n"
	if err := errors.Join(os.WriteFile(conf, []byte(text), 0o644), os.Chmod(conf, 0o646)); err != nil {
		t.Fatal(err)
	}
	for inPlace, want := range map[bool]string{
		false: "",
		true: "CONF:1:1: warning: on this host: the helper runs nothing while this is so: CONF is unsafe to trust: " +
			"everybody may write to CONF (mode 0646); chmod o-w CONF",
	} {
		v := evaluate(read([]string{conf}), loader{node: "lb1", getenv: noEnvironment, here: true, inPlace: inPlace, hands: hands{uid: 1, door: true}})
		var got []string
		for _, f := range v.found {
			got = append(got, strings.ReplaceAll(f.String(), conf, "CONF"))
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("in its place: %t: said %q, want %q", inPlace, got, want)
		}
	}
}
