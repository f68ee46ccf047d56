package door

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/notify"
)

// before and after are a configuration and the same one without an instance, whose hook goes on for another one, and one of a
// hook that is gone with it.
const (
	before = `
instance "web" {
}
instance "db" {
}
group "edge" {
}
notify "script" "tell" {
  on        = ["master", "stop"]
  instances = ["web", "db"]
  command   = ["DIR/tell", "before"]
}
notify "script" "gone" {
  on      = ["master", "stop"]
  groups  = ["edge"]
  command = ["DIR/tell", "gone"]
}
notify "script" "mistaken" {
  on      = ["stop"]
  command = []
}
`
	after = `
instance "db" {
}
notify "script" "tell" {
  on        = ["master", "stop"]
  instances = ["db"]
  command   = ["DIR/tell", "after"]
}
`
)

// remembering is a helper with a memory.
func remembering(t *testing.T, text string) *realHelper {
	t.Helper()
	h := withScripts(t, newHelper(t, text))
	h.change(func(x *Helper) { x.Memory = filepath.Join(h.dir, "memory") })
	h.remember(t)
	return h
}

func (h *realHelper) remember(t *testing.T) {
	t.Helper()
	if err := h.Remember(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// asked is what a hook says, or why it was not run.
func (h *realHelper) asked(t *testing.T, hook string, tr notify.Transition) string {
	t.Helper()
	o, err := h.Hook(t.Context(), hook, tr)
	if err != nil {
		return err.Error()
	}
	line, _, _ := strings.Cut(o.Output, "\n")
	return line
}

func stopOf(instance string) notify.Transition {
	tr := become(notify.Stop)
	tr.Instance, tr.MemberOf = instance, ""
	return tr
}

// TestTheLastHookThatTheFilesNameNoLonger: what a reload removes is told its end as root had written it down, and nothing more.
func TestTheLastHookThatTheFilesNameNoLonger(t *testing.T) {
	const (
		noWeb  = `the helper refuses: notify "tell" is not for "stop" of "web" in the configuration of this host; if that changed, run: understudy reload`
		noEdge = `the helper refuses: the configuration of this host has no notify named "gone"`
	)
	edge := stopOf("edge")
	edge.Group = true
	h := remembering(t, before)
	h.write(t, "understudy.hcl", after)
	if diff := cmp.Diff(noWeb, h.asked(t, "tell", stopOf("web"))); diff != "" {
		t.Errorf("before the daemon says that it goes by the new files (-want +got):\n%s", diff)
	}
	h.remember(t)
	h.remember(t) // again: nothing changed
	master := stopOf("web")
	master.State = notify.Master
	elsewhere := stopOf("web")
	elsewhere.Node = "lb2"
	for _, tt := range []struct {
		name, hook string
		told       notify.Transition
		want       string
	}{
		{"a hook that goes on", "tell", stopOf("web"), "root before INSTANCE web STOP 150"},
		{"a hook that is gone", "gone", edge, "root gone GROUP edge STOP 0"},
		{"what is configured", "tell", stopOf("db"), "root after INSTANCE db STOP 150"},
		{"another state", "tell", master, `the helper refuses: the configuration of this host has no instance named "web"; if that changed, run: understudy reload`},
		{"another node", "tell", elsewhere, `the helper refuses: the daemon is node "lb2", and this helper "lb1"; give both the same --node`},
		{"an instance that never was", "tell", stopOf("wep"), strings.ReplaceAll(noWeb, "web", "wep")},
		{"a hook that was not for it", "gone", stopOf("web"), noEdge},
		{"a hook that could not be run", "mistaken", stopOf("web"), `the helper refuses: the configuration of this host has no notify named "mistaken"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, h.asked(t, tt.hook, tt.told)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("a program that has become unsafe", func(t *testing.T) {
		chmod(t, filepath.Join(h.dir, "tell"), 0o757)
		defer chmod(t, filepath.Join(h.dir, "tell"), 0o755)
		if got := h.asked(t, "tell", stopOf("web")); !strings.Contains(got, "is unsafe to run") {
			t.Error(got)
		}
	})
	t.Run("a memory that somebody else can write", func(t *testing.T) {
		chmod(t, filepath.Join(h.dir, "memory"), 0o777)
		defer chmod(t, filepath.Join(h.dir, "memory"), 0o700)
		if got := h.asked(t, "tell", stopOf("web")); !strings.HasPrefix(got, noWeb+"; what it was before is not known: ") {
			t.Error(got)
		}
		if err := h.Remember(t.Context()); err == nil || !strings.Contains(err.Error(), "the helper refuses: remember the configuration: ") {
			t.Error(err)
		}
	})
	t.Run("it is back", func(t *testing.T) {
		h.write(t, "conf.d/web.hcl", "instance \"web\" {\n}\n")
		if diff := cmp.Diff(noWeb, h.asked(t, "tell", stopOf("web"))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("a file is broken", func(t *testing.T) {
		h.write(t, "conf.d/web.hcl", "instance {{\n")
		if diff := cmp.Diff(noWeb, h.asked(t, "tell", stopOf("web"))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := h.Remember(t.Context()); err == nil || !strings.Contains(err.Error(), "web.hcl:1:") {
			t.Errorf("what is not known is remembered: %v", err)
		}
	})
}

// TestADamagedMemoryIsNone: so is one of another release; the next word of the daemon makes it whole.
func TestADamagedMemoryIsNone(t *testing.T) {
	h := remembering(t, before)
	h.mu.Lock()
	path, err := h.helper.memoryFile()
	h.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", `{"configurations": [{"hosts": []}]}`, `{"configurations": 3}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := h.asked(t, "gone", stopOf("old")); !strings.Contains(got, `is not for "stop" of "old"`) {
			t.Errorf("%q: %s", text, got)
		}
	}
	h.remember(t)
	h.write(t, "understudy.hcl", after)
	h.remember(t)
	if got := h.asked(t, "tell", stopOf("web")); got != "root before INSTANCE web STOP 150" {
		t.Error(got)
	}
}

func TestMemoryForgets(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	with := kept{Instances: []string{"web", "db"}, Hooks: []keptHook{{Name: "tell"}}}
	without := kept{Instances: []string{"db"}}
	knows := func(m *memory, at time.Duration) bool {
		_, ok := m.last("tell", stopOf("web"), start.Add(at))
		return ok
	}
	var m memory
	m.note(with, start)
	if knows(&m, 0) {
		t.Error("what the daemon goes by is the files' business")
	}
	m.note(without, start)
	m.note(without, start.Add(keptFor/2)) // again: that prolongs nothing
	for at, want := range map[time.Duration]bool{0: true, keptFor - 1: true, keptFor: false, -1: false} {
		if got := knows(&m, at); got != want {
			t.Errorf("%s after the change: known %t", at, got)
		}
	}
	for i := range 3 * maxKept {
		m.note(kept{Instances: []string{strings.Repeat("x", i+1)}}, start.Add(time.Second))
	}
	if len(m.Configurations) > maxKept {
		t.Errorf("%d configurations are kept", len(m.Configurations))
	}
	m.note(without, start.Add(time.Hour))
	if len(m.Configurations) != 2 { // and the one before it, since just now
		t.Errorf("%d configurations are kept an hour later", len(m.Configurations))
	}
}
