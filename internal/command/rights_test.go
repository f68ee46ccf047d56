package command_test

import (
	"errors"
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

// TestScriptsAmongTheArguments: what runs is the interpreter's script.
func TestScriptsAmongTheArguments(t *testing.T) {
	needRoot(t)
	dir := commandtest.Dir(t)
	safe, loose := commandtest.Script(t, dir, "safe", "true"), commandtest.Script(t, dir, "loose", "true")
	if err := os.Chmod(loose, 0o757); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loose", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	if err := errors.Join(os.WriteFile(data, nil, 0o600), os.Chmod(data, 0o666)); err != nil {
		t.Fatal(err)
	}
	anybodys := data + " is unsafe to run: everybody may write to " + data + " (mode 0666); chmod go-w " + data
	everybody := " is unsafe to run: everybody may write to " + loose + " (mode 0757); chmod o-w " + loose
	tests := []struct {
		name string
		spec command.Spec
		want string // "" for none
	}{
		{"a safe script", command.Spec{Argv: []string{"/bin/sh", safe}}, ""},
		{"an unsafe one", command.Spec{Argv: []string{"/bin/sh", loose}}, loose + everybody},
		{"by a link", command.Spec{Argv: []string{"sh", "-e", dir + "/link"}}, dir + "/link" + everybody},
		{"behind another argument", command.Spec{Argv: []string{"/usr/bin/env", safe, loose}}, loose + everybody},
		{"as root by name", command.Spec{Argv: []string{"/bin/sh", loose}, User: "root", OnlyRoot: true}, loose + everybody},
		{"as another user", command.Spec{Argv: []string{"/bin/sh", loose}, User: "nobody"}, ""},
		{"no script, but data", command.Spec{Argv: []string{"test", "-e", data}}, ""},
		{"data that an interpreter runs", command.Spec{Argv: []string{"/bin/sh", data}}, anybodys},
		{"by way of a program that starts others", command.Spec{Argv: []string{"timeout", "5", "sh", data}}, anybodys},
		{"what a program may execute", command.Spec{Argv: []string{"test", "-e", loose}}, loose + everybody},
		{"a program's text", command.Spec{Argv: []string{"/bin/sh", "-c", loose + "; true"}}, ""},
		{"a directory", command.Spec{Argv: []string{"ls", "/tmp"}}, ""},
		{"a device", command.Spec{Argv: []string{"cat", "/dev/null"}}, ""},
		{"nothing that is there", command.Spec{Argv: []string{"test", "-e", "/tmp/understudy-no-such"}}, ""},
	}
	for _, tt := range tests {
		got := ""
		if err := command.Verify(tt.spec); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if _, err := command.Run(t.Context(), command.Spec{Argv: []string{"/bin/sh", loose}}); err == nil || err.Error() != loose+everybody {
		t.Errorf("run: %v", err)
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
