package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/internal/command"
	"github.com/understudy-ha/understudy/internal/command/commandtest"
)

func TestOnlyRoot(t *testing.T) {
	needRoot(t)
	dir := commandtest.Dir(t)
	path := commandtest.Script(t, dir, "s", "true")
	spec := command.Spec{Argv: []string{path}, User: "nobody", OnlyRoot: true}
	if err := command.OnlyRoot(path); err != nil || command.Verify(spec) != nil {
		t.Errorf("root's own: %v, %v", err, command.Verify(spec))
	}
	if err := os.Symlink(path, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 65534, -1); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, filepath.Join(dir, "link")} {
		want := fmt.Sprintf("%s is unsafe to trust: %s (mode 0755) belongs to nobody, not to root; chown root %s", p, path, path)
		if err := command.OnlyRoot(p); err == nil || err.Error() != want {
			t.Errorf("nobody's: %v, want %s", err, want)
		}
	}
	want := fmt.Sprintf("%s is unsafe to run: %s (mode 0755) belongs to nobody, not to root; only what nobody else can replace is run through the helper; chown root %s", path, path, path)
	if _, err := command.Run(t.Context(), spec); err == nil || err.Error() != want {
		t.Errorf("nobody's as nobody: %v, want %s", err, want)
	}
	t.Chdir(dir)
	if err := command.OnlyRoot("s"); err == nil {
		t.Error("a relative path is not judged")
	}
}

func TestUsers(t *testing.T) {
	needRoot(t)
	if !command.MaySwitch() {
		t.Error("root may not run commands as other users")
	}
	for name, own := range map[string]bool{"": true, "root": true, "0": true, "nobody": false, "no-such-user": false} {
		if got := command.OwnUser(name); got != own {
			t.Errorf("user %q is the own one: %t", name, got)
		}
	}
	for uid, want := range map[uint32]string{0: "root (uid 0)", 3999999999: "uid 3999999999"} {
		if got := command.UserName(uid); got != want {
			t.Errorf("uid %d is called %q, want %q", uid, got, want)
		}
	}
}
