package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/node"
)

// undrained is a daemon whose drains can be lifted.
type undrained struct {
	control.Daemon
	names []string
}

func (d *undrained) Report() node.Report {
	return node.Report{Node: &node.Status{Node: "lb1", Drained: d.names}}
}

func (d *undrained) Undrain(_ context.Context, name string) error {
	d.names = slices.DeleteFunc(slices.Clone(d.names), func(n string) bool { return n == name })
	return nil
}

// TestUndrainSaysWhatIsLeft: who lifts one of several drains reads what the host is drained by still, and what lifts that.
func TestUndrainSaysWhatIsLeft(t *testing.T) {
	for _, tt := range []struct {
		name    string
		drained []string
		want    string
	}{
		{"nothing", []string{"admin"}, "undrained\n"},
		{"nginx's stop", []string{"admin", "nginx-stop"}, "undrained; still drained by nginx-stop: understudy undrain --for nginx-stop\n"},
		{"its own was none", []string{"nginx-stop"}, "undrained; still drained by nginx-stop: understudy undrain --for nginx-stop\n"},
		{"two, one with a space", []string{"admin", "a b", "c"}, "undrained; still drained by a b: understudy undrain --for 'a b'; still drained by c: understudy undrain --for c\n"},
		{"a file that cannot be read", []string{"/x/drains.json"}, "undrained; still drained by /x/drains.json\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := command(t, "undrain", "--runtime-dir", served(t, &undrained{names: tt.drained}))
			if code != exitOK || stdout != tt.want || stderr != "" {
				t.Errorf("exit %d, %q, want %q; stderr %q", code, stdout, tt.want, stderr)
			}
		})
	}
}

// drained is a daemon whose drain ends in some way.
type drained struct {
	control.Daemon
	end node.Drained
}

func (d drained) Drain(context.Context, string) (node.Drained, error) { return d.end, nil }

func TestDrainSaysHowItEnded(t *testing.T) {
	const dead = "what serves web has ended: the handover goes on, and was not waited for\n"
	for _, tt := range []struct {
		name string
		end  node.Drained
		want string
		code int
	}{
		{"nothing was here", node.Drained{}, "drained: this host held no address\n", exitOK},
		{"another host took it", node.Drained{Moved: []string{"web", "mail"}}, "drained: another host has web, mail\n", exitOK},
		{"nobody took it", node.Drained{Kept: []string{"web"}}, "nobody took over web: this host serves on, and offers it again\n", exitNobodyTook},
		{"it serves nothing", node.Drained{Dead: []string{"web"}}, dead, exitNobodyTook},
		{"one serves nothing, another moved", node.Drained{Dead: []string{"web"}, Moved: []string{"mail"}}, dead + "drained: another host has mail\n", exitNobodyTook},
		{"it is not saved", node.Drained{Moved: []string{"web"}, Unsaved: "disk full"}, "drained: another host has web\n", exitUnsaved},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, _ := command(t, "drain", "--runtime-dir", served(t, drained{end: tt.end}))
			if code != tt.code || stdout != tt.want {
				t.Errorf("exit %d, %q, want %d, %q", code, stdout, tt.code, tt.want)
			}
		})
	}
}

// TestUndrainSaysWhatIsSaved: the same without a daemon.
func TestUndrainSaysWhatIsSaved(t *testing.T) {
	state, runtime := t.TempDir(), t.TempDir()
	dirs := []string{"--state-dir", state, "--runtime-dir", runtime}
	for _, name := range []string{"admin", "nginx-stop"} {
		if code, _, stderr := command(t, append([]string{"drain", "--for", name}, dirs...)...); code != exitOK {
			t.Fatalf("exit %d: %s", code, stderr)
		}
	}
	const left = "understudy is not running: undrained from its next start; still drained by nginx-stop: understudy undrain --for nginx-stop\n"
	if code, stdout, stderr := command(t, append([]string{"undrain"}, dirs...)...); code != exitOK || stdout != left || stderr != "" {
		t.Errorf("exit %d, %q, want %q; stderr %q", code, stdout, left, stderr)
	}
	saved := filepath.Join(runtime, "drains.json")
	if err := os.WriteFile(saved, []byte("half a fi"), 0o644); err != nil {
		t.Fatal(err)
	}
	broken := "understudy is not running: undrained from its next start; still drained by " + saved + "\n"
	if code, stdout, stderr := command(t, append([]string{"undrain"}, dirs...)...); code != exitOK || stdout != broken || stderr == "" {
		t.Errorf("exit %d, %q, want %q; stderr %q", code, stdout, broken, stderr)
	}
}
