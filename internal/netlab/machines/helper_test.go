package machines

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

const (
	// hookName is a hook that runs at every change and says with what rights it runs; hookPath is its script.
	hookName = "rights"
	hookPath = "/etc/understudy/notify.d/" + hookName
	// toldPath is where it writes each state that it is told, and the instance.
	toldPath = "/etc/understudy/notify.d/told"
	// door is the helper's socket.
	door = "/run/understudy-helper.sock"
	// exposure is what systemd-analyze security may say at most.
	exposure = 2.5
	// settleBound is how long an election may take.
	settleBound = pairtest.SettleBound
)

// hardened asserts what systemd says of the running unit, and that the daemon has two capabilities and no other right.
func hardened(t *testing.T, p *pair) {
	out := p.lb1.do(t, "systemd-analyze security --no-pager understudy.service")
	found := regexp.MustCompile(`Overall exposure level for understudy.service: ([\d.]+)`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("systemd-analyze says\n%s", out)
	}
	if level, err := strconv.ParseFloat(found[1], 64); err != nil || level > exposure {
		t.Errorf("the exposure is %s, want at most %v\n%s", found[1], exposure, out)
	}
	const netAdminAndRaw = "0000000000003000"
	p.lb1.prints(t, "ps -o user= -p $(systemctl show --property=MainPID --value understudy)", "understudy")
	for _, set := range []string{"CapEff", "CapPrm", "CapBnd"} {
		p.lb1.prints(t, "grep ^"+set+": /proc/$(systemctl show --property=MainPID --value understudy)/status | cut -f2", netAdminAndRaw)
	}
}

// around makes every hook of lb1 run, by a drain and its end.
func around(t *testing.T, p *pair) (from time.Time) {
	t.Helper()
	from = time.Now()
	p.away(t, func() { p.lb1.do(t, "understudy drain") })
	p.home(t, func() { p.lb1.do(t, "understudy undrain") })
	return from
}

// hookRights: notify scripts run as root with all of root's rights, as keepalived's do, though the daemon has none of them.
func hookRights(t *testing.T, p *pair) {
	p.lb1.do(t, "rm -f "+toldPath)
	from := around(t, p)
	h := p.lb1.hook(t, hookName, "master", from)
	if h.Error != "" || !strings.HasPrefix(h.Output, "Uid:0 Gid:0 ") {
		t.Errorf("the hook says %q, error %q", h.Output, h.Error)
	}
	full := strings.TrimSpace(p.lb1.do(t, "grep ^CapEff: /proc/1/status | cut -f2"))
	if !strings.Contains(h.Output, "CapEff:"+full) || !strings.Contains(h.Output, "CapAmb:0000000000000000") {
		t.Errorf("the hook has %q, root on this machine has %s", h.Output, full)
	}
	// It is outside of the daemon's sandbox: it wrote into /etc, once for each change.
	p.lb1.prints(t, "cat "+toldPath, "web BACKUP\nweb MASTER")
	if h := p.lb1.hook(t, "tell", "master", from); h.Error != "" {
		t.Errorf("the example's hook: %s: %s", h.Error, h.Output)
	}
	p.lb1.quiet(t)
}

// lastHook: one file has an instance and its hook. When it is removed the helper knows them still, and nobody but root can read what.
func lastHook(t *testing.T, p *pair) {
	const file, told = "/etc/understudy/conf.d/guest.hcl", "/root/guest"
	if err := p.lb1.Write(file, `
instance "guest" {
  interface = "eth0"
  vrid      = 199
  priority  = 200
  addresses = ["192.0.2.199"]
}
notify "script" "guest" {
  on        = ["master", "stop"]
  instances = ["guest"]
  command   = ["/bin/sh", "-c", "echo $(id -un) $3 >>`+told+`", "guest"]
}
`, 0o644); err != nil {
		t.Fatal(err)
	}
	says := func(want string) {
		t.Helper()
		labtest.Eventually(t, settleBound, func() (bool, string) {
			out, _ := p.lb1.try(t, "cat "+told)
			return out == want, fmt.Sprintf("told %q, want %q", out, want)
		})
	}
	says("root MASTER\n")
	labtest.Eventually(t, settleBound, func() (bool, string) { // the others' hooks are run by what the files say
		ran := func(h node.HookReport) bool { return h.Name == "tell" && h.Instance == "guest" && h.State == "master" }
		return slices.ContainsFunc(p.lb1.report(t).Hooks, ran), "not every hook of the new master was run"
	})
	p.lb1.do(t, "rm "+file)
	says("root MASTER\nroot STOP\n")
	p.lb1.prints(t, "stat --format='%U %a' /run/understudy-helper /run/understudy-helper/*", "root 700\nroot 600")
	p.lb1.do(t, "rm "+told)
	p.lb1.quiet(t)
}

// nginxHook: a good configuration is reloaded, a bad one is not.
func nginxHook(t *testing.T, p *pair) {
	workers := func() string { return p.lb1.do(t, "pgrep --parent $(cat /run/nginx.pid) | sort") }
	before := workers()
	from := around(t, p)
	if h := p.lb1.hook(t, "reload", "master", from); h.Error != "" {
		t.Errorf("the hook: %s: %s", h.Error, h.Output)
	}
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		return workers() != before, "nginx has its old workers: it was not reloaded"
	})
	p.lb1.do(t, "echo 'no_such_directive;' >/etc/nginx/conf.d/broken.conf")
	from = around(t, p)
	if h := p.lb1.hook(t, "reload", "master", from); !strings.Contains(h.Error+h.Output, "no_such_directive") {
		t.Errorf("the hook with a broken configuration: %q: %q", h.Error, h.Output)
	}
	p.lb1.do(t, "rm /etc/nginx/conf.d/broken.conf && nginx -t -q")
}

// checkRights: checks have no capability, and the user that they ask for.
func checkRights(t *testing.T, p *pair) {
	for _, s := range p.servers() {
		daemon := strings.TrimSpace(s.do(t, "id -u understudy"))
		for name, uid := range map[string]string{"daemon": daemon, "nobody": "65534"} {
			k, ok := s.check(t, name)
			want := fmt.Sprintf("Uid:%s ", uid)
			if !ok || !k.Healthy || !strings.HasPrefix(k.Output, want) {
				t.Errorf("check %s on %s: %+v, want it to run with %s", name, s.Name(), k, want)
			}
			for _, set := range []string{"CapEff", "CapPrm", "CapAmb"} {
				if !strings.Contains(k.Output, set+":0000000000000000") {
					t.Errorf("check %s on %s has capabilities: %s", name, s.Name(), k.Output)
				}
			}
		}
	}
}

// unsafeHook: what anyone but root can change does not run as root, and nobody is harmed by that but the hook.
func unsafeHook(t *testing.T, p *pair) {
	for _, change := range []struct{ do, undo string }{
		{"chmod g+w " + hookPath, "chmod g-w " + hookPath},
		{"chown nobody " + hookPath, "chown root " + hookPath},
		{"chmod o+w /etc/understudy/notify.d", "chmod o-w /etc/understudy/notify.d"},
	} {
		p.lb1.do(t, "rm -f "+toldPath+"; "+change.do)
		from := around(t, p)
		h := p.lb1.hook(t, hookName, "master", from)
		if h.Error == "" || !strings.Contains(h.Error, "/etc/understudy/notify.d") {
			t.Errorf("after %q the hook says %q, error %q; want an error that names the file", change.do, h.Output, h.Error)
		}
		if out, ok := p.lb1.try(t, "cat "+toldPath); ok {
			t.Errorf("after %q the hook ran: %s", change.do, out)
		}
		p.lb1.do(t, change.undo)
	}
	from := around(t, p)
	if h := p.lb1.hook(t, hookName, "master", from); h.Error != "" {
		t.Errorf("the hook, safe again: %s", h.Error)
	}
}

// ask is a program that asks the helper for a check, by its name, and prints the answer.
const ask = `use IO::Socket::UNIX;
my $door = IO::Socket::UNIX->new(Peer => "` + door + `") or die "$!\n";
my $asked = '{"check":"' . $ARGV[0] . '","timeout_ms":5000}';
print $door "understudy-helper 1 " . length($asked) . "\n" . $asked;
print <$door>;
`

// strangers: who is neither root nor the daemon gets no answer, and nobody one to what the configuration does not have.
func strangers(t *testing.T, p *pair) {
	p.lb1.prints(t, "stat --format='%U:%G %a %F' "+door, "root:understudy 660 socket")
	const program = "/usr/local/lib/understudy-tests/ask"
	if err := p.lb1.Write(program, ask, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, asker := range []struct{ name, as, check, want string }{
		{"root", "", "nobody", `"output":"Uid:65534 `},
		{"root, for what there is not", "", "no-such-check", `no check named \"no-such-check\"`},
		{"root, for a command", "", "/bin/id", `\"/bin/id\" is no name`},
		{"the daemon", "setpriv --reuid=understudy --regid=understudy --clear-groups ", "nobody", `"output":"Uid:65534 `},
		{"nobody", "setpriv --reuid=nobody --regid=nogroup --clear-groups ", "nobody", "Permission denied"},
		{"nobody, of the daemon's group", "setpriv --reuid=nobody --regid=understudy --clear-groups ", "nobody", "may not ask"},
	} {
		if out, _ := p.lb1.try(t, asker.as+"perl "+program+" "+asker.check); !strings.Contains(out, asker.want) {
			t.Errorf("%s asks for %s and is told %q, want %q", asker.name, asker.check, out, asker.want)
		}
	}
	p.lb1.quiet(t)
}
