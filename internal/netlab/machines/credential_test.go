package machines

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

const (
	// authReadme is the page that tells how to have a key from systemd.
	authReadme = "../../../examples/auth/README.md"
	// keyFile is the file that systemd hands over, keyDropIn what tells it so.
	keyFile   = "/etc/understudy/web-1.key"
	keyDropIn = "/etc/systemd/system/understudy.service.d/key.conf"
)

// loadLines are the lines of the page that have systemd hand the key over.
func loadLines(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(authReadme)
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(text), "\n```sh\n") {
		if lines, _, closed := strings.Cut(block, "\n```"); closed && strings.Contains(lines, "LoadCredential=") {
			return lines
		}
	}
	t.Fatalf("%s does not say how systemd hands a key over", authReadme)
	return ""
}

// sign has a machine's configuration want a key from systemd; without a mode it is the one that was installed.
func (s *server) sign(t *testing.T, mode string) {
	t.Helper()
	text := strings.Join(readmeBlock(t, "Quick start", "hcl"), "\n")
	if mode != "" {
		const head = "instance \"web\" {\n"
		auth := fmt.Sprintf("  auth {\n    active = 1\n    mode = %q\n    key \"1\" {\n      credential = \"web-1.key\"\n    }\n  }\n", mode)
		if text = strings.Replace(text, head, head+auth, 1); !strings.Contains(text, auth) {
			t.Fatalf("the README's configuration has no %q", head)
		}
	}
	if err := s.Write(configFile, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// credentials: both machines elect with a key that systemd hands over from a file that is root's alone; a killed daemon's addresses
// are let go; one that lacks its key does not start, says why, and holds nothing.
func credentials(t *testing.T, p *pair) {
	const restart = "systemctl restart understudy"
	defer func() {
		for _, s := range p.servers() {
			if t.Failed() { // the next story begins without keys
				s.sign(t, "")
				s.do(t, "rm -f "+keyFile+" "+keyDropIn+"; systemctl daemon-reload; "+restart)
			}
		}
	}()
	for _, s := range p.servers() {
		if err := s.Write(keyFile, "hex:"+strings.Repeat("5a", vrrp.MinKeyLen)+"\n", 0o600); err != nil {
			t.Fatal(err)
		}
		s.do(t, loadLines(t))
		s.sign(t, vrrp.ReceiveOnly.String())
		if out := s.do(t, "understudy validate"); !strings.Contains(out, "LoadCredential=web-1.key") {
			t.Errorf("validate, which has no credential, says\n%s", out)
		}
	}
	p.rests(t, func() { p.lb2.do(t, restart) })
	p.abroad(t, func() { p.lb1.do(t, restart) })
	p.rests(t, func() {
		enforce := func(s *server) {
			s.sign(t, vrrp.Enforce.String())
			s.do(t, "systemctl reload understudy")
		}
		enforce(p.lb1)
		// What lb1 sent without a signature has to be read before lb2 demands one: its lookout rests now and then.
		labtest.Eventually(t, pairtest.SettleBound, func() (bool, string) {
			routers := p.lb2.report(t).Node.Instances[0].Routers
			return !slices.ContainsFunc(routers, func(r node.RouterStatus) bool { return r.Counters.Signed == 0 }), "lb2 hears nothing signed by lb1"
		})
		enforce(p.lb2)
	})
	labtest.Eventually(t, pairtest.SettleBound, func() (bool, string) {
		for _, r := range p.lb2.report(t).Node.Instances[0].Routers {
			if a := r.Auth; a == nil || a.Mode != vrrp.Enforce.String() || len(a.Senders) != 1 || a.Senders[0].Key != 1 || len(r.Refused) > 0 {
				return false, fmt.Sprintf("lb2 says of lb1's key: %+v, refused %v", a, r.Refused)
			}
		}
		return true, ""
	})

	from := time.Now()
	p.lb1.do(t, "kill -KILL $(systemctl show --property=MainPID --value understudy)")
	p.Only(t, "lb2", pairtest.SettleBound)
	for _, vip := range p.VIPs {
		// systemd 252 shows a credential to the daemon alone: the cleanup lets go, and can tell nobody.
		p.Outage(t, vip, from, silence+pairtest.Noise, "lb2")
		p.Overlap(t, vip, from, 0)
	}
	p.settled(t)

	lacking(t, p, "rm "+keyFile, "Failed to set up credentials")
	lacking(t, p, "rm "+keyDropIn+" && systemctl daemon-reload", "write LoadCredential=web-1.key:PATH into the unit")

	p.rests(t, func() {
		p.lb2.sign(t, vrrp.ReceiveOnly.String())
		p.lb2.do(t, "systemctl reload understudy")
	})
	p.lb1.sign(t, "")
	p.home(t, func() { p.lb1.do(t, restart) })
	p.rests(t, func() {
		p.lb2.sign(t, "")
		p.lb2.do(t, "rm "+keyFile+" "+keyDropIn+" && systemctl daemon-reload && "+restart)
	})
	for _, s := range p.servers() {
		s.quiet(t)
	}
}

// lacking takes lb1's key away and starts its daemon anew: it ends with a message, and the addresses are and stay on lb2.
func lacking(t *testing.T, p *pair, how, message string) {
	t.Helper()
	p.lb1.do(t, how)
	from := time.Now()
	if out, ok := p.lb1.try(t, "systemctl restart understudy"); ok {
		t.Errorf("after %q the daemon started: %s", how, out)
	}
	p.Only(t, "lb2", pairtest.SettleBound)
	p.Rests(t, time.Now(), time.Now().Add(2*time.Second)) // while systemd starts it again
	// Not of the unit alone: systemd's own process for it says this, and may be gone before the journal has asked whose it was.
	p.lb1.do(t, fmt.Sprintf("journalctl --boot --since=@%d | grep -F '%s'", from.Unix(), message))
}
