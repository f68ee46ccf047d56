package config

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
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
