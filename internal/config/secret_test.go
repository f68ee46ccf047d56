package config

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestKeyOfTheDaemonsUser: root, who validates and helps, takes the key of the user that the packages run the daemon as.
func TestKeyOfTheDaemonsUser(t *testing.T) {
	defer func(name string) { daemonUser = name }(daemonUser)
	daemonUser = "nobody"
	u, err := user.Lookup(daemonUser)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	dir := authIn(t, withAuth(`active = 1`, `key "1" {`, `file = "web.key"`, `}`), map[string]string{"web.key": keyText})
	if err := os.Chown(filepath.Join(dir, "web.key"), uid, -1); err != nil {
		t.Skip(err) // no root
	}
	if c, said := loadHere(dir); c == nil {
		t.Errorf("Load says\n%s", said)
	}
}

// TestWhatRootMayNotRead: a directory that others may write to is named where a link behind it may not be followed either; a key that this
// thread may not read stands for that link.
func TestWhatRootMayNotRead(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("no root")
	}
	dir := authIn(t, withAuth(`active = 1`, `key "1" {`, `file = "loose/web.key"`, `}`), map[string]string{"web.key": keyText})
	loose := filepath.Join(dir, "loose")
	if err := errors.Join(os.Mkdir(loose, 0o755), os.Chmod(loose, 0o757), os.Rename(filepath.Join(dir, "web.key"), filepath.Join(loose, "web.key"))); err != nil {
		t.Fatal(err)
	}
	asNobody(t, dir, func() {
		want := "web.key is unsafe to trust: everybody may write to " + loose + " (mode 0757); chmod o-w " + loose
		if _, said := loadHere(dir); !strings.Contains(said, want) {
			t.Errorf("Load says\n%swant %s", said, want)
		}
	})
}
