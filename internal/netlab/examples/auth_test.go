package examples

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestAuth makes keys as the README tells, and changes them without a move.
func TestAuth(t *testing.T) {
	t.Parallel()
	l := newLab(t, pairNetwork)
	l.serves(t)
	make1 := commands(t, "auth/README.md", "openssl rand")
	l.key(t, make1, "web-1.key")
	l.all(func(m *machine) {
		m.follow(t, "auth/README.md", commands(t, "auth/README.md", "understudy.hcl"))
		m.valid(t)
		m.Start(t)
	})
	l.Settled(t, "lb1")

	from := time.Now()
	l.key(t, strings.ReplaceAll(make1, "web-1", "web-2"), "web-2.key")
	for _, step := range []struct {
		file string
		key  uint8 // that lb1 signs with once it has the file
	}{
		{"rotation/1-both-know-it.hcl", 1},
		{"rotation/2-it-signs.hcl", 2},
		{"rotation/3-the-old-one-is-gone.hcl", 2},
	} {
		l.all(func(m *machine) {
			before := m.Logged(reloaded)
			m.follow(t, "auth/README.md", "install -m 644 "+step.file+" /etc/understudy/understudy.hcl")
			m.SaysAgain(t, reloaded, before, bootBound)
		})
		l.signs(t, step.key)
	}
	l.Rests(t, from, time.Now())

	from = time.Now()
	l.machines["lb1"].sh(t, "understudy drain")
	l.Only(t, "lb2", pairtest.SettleBound) // the kernel may still be at it
	l.Planned(t, from, "lb2")
}

// TestAuthRollOut brings keys to a pair that runs without, as the README tells.
func TestAuthRollOut(t *testing.T) {
	t.Parallel()
	l := newLab(t, pairNetwork)
	l.serves(t)
	l.key(t, commands(t, "auth/README.md", "openssl rand"), "web-1.key")
	whole := example(t, "auth/understudy.hcl")
	begin, end := strings.Index(whole, "\n  auth {"), strings.Index(whole, "\n  }\n}\n\ncheck")
	if begin < 0 || end < begin {
		t.Fatal("the example has no auth block at the end of its instance")
	}
	l.all(func(m *machine) {
		m.write(t, "/etc/understudy/understudy.hcl", whole[:begin]+whole[end+len("\n  }\n"):], 0o644)
		m.Start(t)
	})
	l.Settled(t, "lb1")
	from := time.Now()
	for _, mode := range []string{`    mode   = "receive-only"`, `    mode   = "permissive"`, ""} {
		l.all(func(m *machine) {
			before := m.Logged(reloaded)
			m.write(t, "/etc/understudy/understudy.hcl", strings.Replace(whole, "    active = 1", "    active = 1\n"+mode, 1), 0o644)
			m.SaysAgain(t, reloaded, before, bootBound)
		})
	}
	l.signs(t, 1)
	l.Rests(t, from, time.Now())
}

// reloaded is what the daemon says of a new configuration.
const reloaded = `configuration reloaded`

// key makes a key on the first machine and copies it to the others.
func (l *lab) key(t *testing.T, commands, name string) {
	t.Helper()
	first := l.machines[l.Hosts[0].Name()]
	first.sh(t, commands)
	text := first.read(t, "/etc/understudy/"+name)
	if !strings.HasPrefix(text, "hex:") || len(strings.TrimSpace(text)) != len("hex:")+64 {
		t.Fatalf("%s is %d bytes, want hex: and 64 digits", name, len(text))
	}
	l.all(func(m *machine) {
		m.write(t, "/etc/understudy/"+name, text, 0o600)
		m.sh(t, "chown understudy: /etc/understudy/"+name)
	})
}

// signs waits until the backup hears adverts that are signed with a key.
func (l *lab) signs(t *testing.T, key uint8) {
	t.Helper()
	l.machines["lb2"].AwaitInstance(t, "web", bootBound, func(i node.InstanceStatus) bool {
		for _, r := range i.Routers {
			if r.Auth == nil || len(r.Auth.Senders) != 1 || r.Auth.Senders[0].Key != key {
				return false
			}
		}
		return len(i.Routers) == 2
	})
}
