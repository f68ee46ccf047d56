package config

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/vrrp"
)

// The secrets of the tests: whatever is printed, none of them may be in it.
const (
	keyText = "a-key-of-32-bytes-that-is-secret"
	newText = "another-key-that-is-a-secret-too-1"
)

// withAuth is minimal with an auth block.
func withAuth(lines ...string) string {
	return with("  auth {\n" + strings.Join(lines, "\n") + "\n  }")
}

// authIn writes a configuration and files beside it, only for their owner, and returns the directory, which nobody else can write.
func authIn(t *testing.T, text string, files map[string]string) string {
	t.Helper()
	dir := writeIn(t, commandtest.Dir(t), map[string]string{mainFile: text, "credentials/other": ""})
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// loadHere loads as run does.
func loadHere(dir string) (*Config, string) {
	c, found := reportHere(dir)
	return c, found.Text()
}

func reportHere(dir string) (*Config, Report) {
	return Load([]string{dir}, Options{Node: "lb1", OnThisHost: true, Getenv: func(name string) (string, bool) {
		return filepath.Join(dir, "credentials"), name == credentialsVariable
	}})
}

func TestLoadAuth(t *testing.T) {
	keys := map[string]string{"old.key": keyText + "\r\n", "credentials/new.key": "hex:" + hex.EncodeToString([]byte(newText)) + "\n", "pass": "secret\n"}
	old, young := vrrp.NewSecret([]byte(keyText)), vrrp.NewSecret([]byte(newText))
	password, err := vrrp.NewPassword("secret")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		want       func(dir string) *vrrp.Auth
	}{
		{"one key", withAuth(`active = 1`, `key "1" {`, `file = "old.key"`, `}`), func(dir string) *vrrp.Auth {
			return &vrrp.Auth{Active: 1, Window: 5 * time.Second, Keys: []vrrp.Key{{ID: 1, Secret: old, File: filepath.Join(dir, "old.key")}}}
		}},
		{"two keys, one a credential, rolling out", with(`advertise_interval = "10s"`, "auth {", `active = 255`, `mode = "receive-only"`,
			`key "255" {`, `credential = "new.key"`, `}`, `key "2" {`, `file = "old.key"`, `}`, "}"), func(dir string) *vrrp.Auth {
			return &vrrp.Auth{Mode: vrrp.ReceiveOnly, Active: 255, Window: 30 * time.Second, Keys: []vrrp.Key{
				{ID: 2, Secret: old, File: filepath.Join(dir, "old.key")}, {ID: 255, Secret: young, File: filepath.Join(dir, "credentials", "new.key")},
			}}
		}},
		{"a password", with("version = 2", "auth {", `password = "secret"`, "}"), func(string) *vrrp.Auth {
			return &vrrp.Auth{Window: 5 * time.Second, Password: password}
		}},
		{"a password in a file", with("version = 2", "auth {", `password_file = "pass"`, "}"), func(dir string) *vrrp.Auth {
			return &vrrp.Auth{Window: 5 * time.Second, Password: password, PasswordFile: filepath.Join(dir, "pass")}
		}},
		{"null equals left out", withAuth(`active = 1`, `mode = null`, `password = null`, `key "1" {`, `file = "old.key"`, `credential = null`, `}`), func(dir string) *vrrp.Auth {
			return &vrrp.Auth{Active: 1, Window: 5 * time.Second, Keys: []vrrp.Key{{ID: 1, Secret: old, File: filepath.Join(dir, "old.key")}}}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := authIn(t, tt.text, keys)
			c, found := reportHere(dir)
			if c == nil {
				t.Fatalf("Load says\n%s", found.Text())
			}
			if diff := cmp.Diff(tt.want(dir), c.Instances[0].Auth); diff != "" {
				t.Errorf("auth (-want +got):\n%s", diff)
			}
			for _, s := range found.Sources {
				if strings.Contains(string(s.Bytes), keyText) {
					t.Error("a key is among the sources")
				}
			}
			again := *c.Instances[0].Auth
			again.Keys = nil
			for _, k := range c.Instances[0].Auth.Keys {
				again.Keys = append(again.Keys, vrrp.Key{ID: k.ID, File: k.File})
			}
			if err := ReadSecrets(&again); err != nil || !cmp.Equal(tt.want(dir), &again) {
				t.Errorf("read again: %v, error %v", again, err)
			}
		})
	}
}

// TestSecretFiles: what is wrong with one, in words that show none of it. On the host that runs it, it is an error.
func TestSecretFiles(t *testing.T) {
	tests := []struct {
		name    string
		content string
		spoil   func(path string) error
		want    string
	}{
		{"missing", "", os.Remove, "PATH does not exist"},
		{"empty", "", nil, "PATH holds a key of 0 bytes; allowed: 32..64; make one with: (printf hex:; openssl rand -hex 32)"},
		{"short", keyText[1:], nil, "PATH holds a key of 31 bytes"},
		{"long", strings.Repeat("secret-12", 8), nil, "PATH holds a key of 72 bytes"},
		{"short in hex", "hex:" + hex.EncodeToString([]byte(keyText[1:])), nil, "PATH holds a key of 31 bytes"},
		{"half a digit", "hex:" + hex.EncodeToString([]byte(keyText)) + "a", nil, "PATH holds no key: what follows hex: is not an even number of hex digits"},
		{"no digits", "hex:" + keyText + "secret", nil, "PATH holds no key: what follows hex:"},
		{"two lines", keyText + "\n" + keyText + "\n", nil, "PATH has more than one line; write a key that is not text in hex digits"},
		{"huge", strings.Repeat("secret-1\n", 100), nil, "PATH is larger than 512 bytes"},
		{"readable by the group", keyText, func(path string) error { return os.Chmod(path, 0o640) }, "PATH has mode 0640, so that others than its owner can use it; run: chmod 600 PATH"},
		{"writable by everyone", keyText, func(path string) error { return os.Chmod(path, 0o602) }, "PATH has mode 0602"},
		{"another user's", keyText, func(path string) error { return os.Chown(path, os.Geteuid()+4711, 0) }, fmt.Sprintf("PATH belongs to user %d; allowed: root and the daemon's user", os.Geteuid()+4711)},
		{"a directory", keyText, func(path string) error { _ = os.Remove(path); return os.Mkdir(path, 0o700) }, "PATH is not a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := authIn(t, withAuth(`active = 1`, `key "1" {`, `file = "web.key"`, `}`), map[string]string{"web.key": tt.content})
			path := filepath.Join(dir, "web.key")
			if tt.spoil != nil {
				if err := tt.spoil(path); err != nil {
					t.Skip(err) // no root
				}
			}
			c, said := loadHere(dir)
			want := strings.ReplaceAll(tt.want, "PATH", path)
			if c != nil || !strings.Contains(said, "error: "+want) || strings.Contains(said, "secret") {
				t.Errorf("Load says\n%swant an error %s", said, want)
			}
			doubt := Validate([]string{dir}, nil, Options{Node: "lb1"})
			if !doubt.OK(false) || !strings.Contains(doubt.Text(), "warning: on this host: "+want) {
				t.Errorf("Validate says\n%swant a warning", doubt.Text())
			}
			elsewhere := Validate([]string{dir}, []string{"lb1"}, Options{Node: "buildbox"})
			if !elsewhere.OK(true) {
				t.Errorf("Validate says of another host\n%s", elsewhere.Text())
			}
		})
	}
}

// TestWhoMayReplaceASecret: what is on the way to it is judged as it is of a hook, but that what stands in a sticky directory is there,
// and whose it is counts. It is so on the host that runs it.
func TestWhoMayReplaceASecret(t *testing.T) {
	const stranger = 4711
	move := func(dir, to string) error {
		return errors.Join(os.Mkdir(filepath.Join(dir, to), 0o755), os.Rename(filepath.Join(dir, "web.key"), filepath.Join(dir, to, "web.key")))
	}
	link := func(dir, target string) error { return os.Symlink(target, filepath.Join(dir, "web.key")) }
	chmod := func(dir, name string, mode os.FileMode) error { return os.Chmod(filepath.Join(dir, name), mode) }
	tests := []struct {
		name  string
		spoil func(dir string) error
		want  string // DIR stands for the directory; "" for none
	}{
		{"a directory that everybody may write", func(dir string) error { return chmod(dir, "", 0o777) },
			"DIR/web.key is unsafe to trust: everybody may write to DIR (mode 0777); chmod go-w DIR"},
		{"a directory that its group may write", func(dir string) error { return chmod(dir, "", 0o775) },
			"may write to DIR (mode 0775); chmod g-w DIR"},
		{"a sticky one", func(dir string) error { return chmod(dir, "", 0o777|os.ModeSticky) }, ""},
		{"another user's directory in a sticky one", func(dir string) error {
			return errors.Join(chmod(dir, "", 0o777|os.ModeSticky), move(dir, "v1"), link(dir, "v1/web.key"), os.Chown(filepath.Join(dir, "v1"), stranger, -1))
		}, "DIR/web.key is unsafe to trust: DIR/v1 (mode 0755) belongs to uid 4711, who is neither root nor the daemon's user; chown root DIR/v1"},
		{"another user's link in a sticky one", func(dir string) error {
			return errors.Join(chmod(dir, "", 0o777|os.ModeSticky), move(dir, "v1"), link(dir, "v1/web.key"), os.Lchown(filepath.Join(dir, "web.key"), stranger, -1))
		}, "DIR/web.key is unsafe to trust: DIR/web.key, a link in a directory that others may write to, belongs to uid 4711, " +
			"who is neither root nor the daemon's user; chown -h root DIR/web.key"},
		{"another user's link in a sticky one, judged before it is followed", func(dir string) error {
			return errors.Join(chmod(dir, "", 0o777|os.ModeSticky), move(dir, "v1"), link(dir, "v2/web.key"), os.Lchown(filepath.Join(dir, "web.key"), stranger, -1))
		}, "DIR/web.key, a link in a directory that others may write to, belongs to uid 4711, who is neither root nor the daemon's user; chown -h root DIR/web.key"},
		{"another user's sticky directory", func(dir string) error {
			return errors.Join(chmod(dir, "", 0o777|os.ModeSticky), os.Chown(dir, stranger, -1))
		}, "(mode 1777) belongs to uid 4711, who is neither root nor the daemon's user; chown root DIR"},
		{"a loose directory in a sticky one", func(dir string) error {
			return errors.Join(chmod(dir, "", 0o777|os.ModeSticky), move(dir, "v1"), chmod(dir, "v1", 0o777), link(dir, "v1/web.key"))
		}, "DIR/web.key is unsafe to trust: everybody may write to DIR/v1 (mode 0777); chmod go-w DIR/v1"},
		{"another user's directory", func(dir string) error { return os.Chown(dir, stranger, -1) },
			"(mode 0755) belongs to uid 4711, who is neither root nor the daemon's user; chown root DIR"},
		{"a link into an unsafe directory", func(dir string) error {
			return errors.Join(move(dir, "loose"), chmod(dir, "loose", 0o757), link(dir, "loose/web.key"))
		}, "DIR/web.key is unsafe to trust: everybody may write to DIR/loose (mode 0757); chmod o-w DIR/loose"},
		{"a link that lies in one", func(dir string) error {
			return errors.Join(move(dir, "keys"), os.Mkdir(filepath.Join(dir, "loose"), 0o755), os.Symlink("../keys/web.key", filepath.Join(dir, "loose", "link")),
				chmod(dir, "loose", 0o757), link(dir, "loose/link"))
		}, "DIR/web.key is unsafe to trust: everybody may write to DIR/loose (mode 0757); chmod o-w DIR/loose"},
		{"links as a volume has them", func(dir string) error {
			return errors.Join(move(dir, "v1"), os.Symlink("v1", filepath.Join(dir, "..data")), link(dir, "..data/web.key"))
		}, ""},
		{"a Secret volume of Kubernetes", func(dir string) error {
			return errors.Join(chmod(dir, "", 0o777|os.ModeSticky), move(dir, "..2026"), os.Symlink("..2026", filepath.Join(dir, "..data")), link(dir, "..data/web.key"))
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := authIn(t, withAuth(`active = 1`, `key "1" {`, `file = "web.key"`, `}`), map[string]string{"web.key": keyText})
			if err := tt.spoil(dir); errors.Is(err, os.ErrPermission) {
				t.Skip(err) // no root
			} else if err != nil {
				t.Fatal(err)
			}
			c, said := loadHere(dir)
			want := strings.ReplaceAll(tt.want, "DIR", dir)
			if (c != nil) != (want == "") || !strings.Contains(said, want) {
				t.Errorf("Load says\n%swant %s", said, want)
			}
			if doubt := Validate([]string{dir}, nil, Options{Node: "lb1"}); want != "" && !strings.Contains(doubt.Text(), "warning: on this host: ") {
				t.Errorf("Validate says\n%swant a warning", doubt.Text())
			}
		})
	}
}

// TestCredentialsOfAServiceUser: systemd's ACL for the service's user shows as the group's right to read.
func TestCredentialsOfAServiceUser(t *testing.T) {
	for mode, fine := range map[os.FileMode]bool{0o400: true, 0o440: true, 0o460: false, 0o444: false} {
		dir := authIn(t, withAuth(`active = 1`, `key "1" {`, `credential = "web.key"`, `}`), map[string]string{"credentials/web.key": keyText})
		if err := os.Chmod(filepath.Join(dir, "credentials", "web.key"), mode); err != nil {
			t.Fatal(err)
		}
		if c, said := loadHere(dir); (c != nil) != fine {
			t.Errorf("mode %o: Load says\n%s", mode, said)
		}
	}
}

// TestOtherHostsKeysAreNotLookedAt: this machine has its own.
func TestOtherHostsKeysAreNotLookedAt(t *testing.T) {
	dir := authIn(t, withAuth(`active = 1`, `key "1" {`, `file = "${hostname}.key"`, `}`), map[string]string{"lb1.key": keyText})
	for _, this := range []string{"lb1", "lb2"} {
		r := Validate([]string{dir}, []string{"lb1", "lb2"}, Options{Node: this, Here: true})
		if lacks := strings.Contains(r.Text(), "lb2.key does not exist"); lacks != (this == "lb2") || lacks == r.OK(false) {
			t.Errorf("Validate on %s says\n%s", this, r.Text())
		}
	}
}

func TestDiffSeesAnotherKey(t *testing.T) {
	dir := authIn(t, withAuth(`active = 1`, `key "1" {`, `file = "web.key"`, `}`), map[string]string{"web.key": keyText})
	before, _ := loadHere(dir)
	same, _ := loadHere(dir)
	if err := os.WriteFile(filepath.Join(dir, "web.key"), []byte(newText), 0o600); err != nil {
		t.Fatal(err)
	}
	after, _ := loadHere(dir)
	if c := Diff(before, same); !c.Empty() {
		t.Errorf("the same files: %s", c.Summary())
	}
	c := Diff(before, after)
	if got := c.Summary(); got != "instance web changed" {
		t.Errorf("another key: %q", got)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(b), fmt.Sprintf("%+v %#v", c, c)} {
		if strings.Contains(text, "secret") && strings.Contains(text, keyText[:8]) || strings.Contains(text, newText[:8]) {
			t.Errorf("a key is shown: %s", text)
		}
	}
	if diff := cmp.Diff([]string{filepath.Join(dir, "understudy.hcl"), filepath.Join(dir, "web.key")}, after.Files); diff != "" {
		t.Errorf("files to watch (-want +got):\n%s", diff)
	}
}

func TestSharedKeysAreAWarning(t *testing.T) {
	auth := "auth {\n active = 1\n key \"1\" {\n file = \"web.key\"\n }\n}\n"
	text := with(auth) + strings.NewReplacer("web\"", "inside\"", "eth0", "eth1", "192.0.2.10", "10.0.0.10").Replace(with("auth {\n active = 2\n key \"1\" {\n file = \"KEY\"\n }\n key \"2\" {\n file = \"new.key\"\n }\n}\n"))
	for key, warned := range map[string]bool{"web.key": true, "new.key": false} {
		dir := authIn(t, strings.ReplaceAll(text, "KEY", key), map[string]string{"web.key": keyText, "new.key": newText})
		_, said := loadHere(dir)
		if got := strings.Contains(said, `instances "web" and "inside" have a key and the vrid 71 in common: what is sent on eth0 could be played on eth1`); got != warned {
			t.Errorf("with %s Load says\n%s", key, said)
		}
	}
}

// TestNoMessageShowsAPassword, however wrong it is written.
func TestNoMessageShowsAPassword(t *testing.T) {
	for _, line := range []string{
		`password = "SECRETSECRET"`, `password = { a = "SECRET" }`, `password = ["SECRET"]`, `password = "SECRET" + 1`, `password = "SECRET`,
		`"password" = "SECRET"`, `password = file("SECRET-file", "SECRET")`, `password "SECRET" {}`, `password_fil = "x"`,
	} {
		for _, version := range []string{"version = 2", "version = 3"} {
			r := Validate([]string{writeFile(t, with(version, "auth {", line, "}"))}, []string{"lb1"}, Options{})
			b, err := r.JSON()
			if err != nil {
				t.Fatal(err)
			}
			if r.OK(true) || strings.Contains(r.Text()+string(b), "SECRET") {
				t.Errorf("%s, %s: Validate says\n%s", version, line, r.Text())
			}
		}
	}
}

func TestAdviceAboutWhoIsAPeer(t *testing.T) {
	key := `key "1" {` + "\n" + `file = "web.key"` + "\n}"
	for _, tt := range []struct{ mode, want string }{
		{"enforce", ""},
		{"permissive", `every host on eth0 is a peer of "web" while its auth mode is "permissive"; write mode = "enforce" once every host signs`},
		{"receive-only", `every host on eth0 is a peer of "web" while its auth mode is "receive-only"; write mode = "enforce" once every host signs`},
	} {
		dir := authIn(t, withAuth("active = 1", fmt.Sprintf("mode = %q", tt.mode), key), map[string]string{"web.key": keyText})
		r := Validate([]string{dir}, []string{"lb1"}, Options{})
		var said strings.Builder
		for _, f := range r.Findings {
			f.Range = hcl.Range{}
			said.WriteString(strings.TrimPrefix(f.String(), "note: "))
		}
		if said.String() != tt.want {
			t.Errorf("%s: Validate says %q, want %q", tt.mode, said.String(), tt.want)
		}
	}
}
