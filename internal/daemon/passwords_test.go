package daemon

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// proving is an instance that can be saved, with its authentication.
func proving(name string, auth *vrrp.Auth) node.Instance {
	i := on(name, "eth0", 71, vip1.String())
	i.Priority, i.Version, i.Interval, i.DeadAdverts = 150, vrrp.V2, time.Second, 3
	auth.Window = 5 * time.Second
	i.Auth = auth
	return i
}

// saving makes a daemon that saves instances, and one after it with what it left.
func saving(t *testing.T, instances ...node.Instance) (d *Daemon, left string, log *bytes.Buffer) {
	t.Helper()
	log = &bytes.Buffer{}
	o := Options{RuntimeDir: t.TempDir(), StateDir: t.TempDir(), Log: hclog.New(&hclog.LoggerOptions{Output: log})}
	c := &config.Config{Node: "lb1", Instances: instances}
	d = newDaemon(c, o)
	d.saveInstances(d.nodeConfig(c))
	return d, filepath.Join(o.RuntimeDir, instancesFile), log
}

func passwordOf(t *testing.T, text string) vrrp.Secret {
	t.Helper()
	s, err := vrrp.NewPassword(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCleanupHasThePassword: one that stands in the configuration is there after the daemon's death, whatever became of the
// configuration, in a file that the daemon's user alone can read. No key is.
func TestCleanupHasThePassword(t *testing.T) {
	key := filepath.Join(commandtest.Dir(t), "web.key")
	write(t, key, aKey)
	secret := vrrp.NewSecret([]byte(aKey))
	file := filepath.Join(filepath.Dir(key), "pass")
	write(t, file, "infile")
	d, left, _ := saving(t,
		proving("VI_1", &vrrp.Auth{Password: passwordOf(t, "1111")}),
		proving("whole", &vrrp.Auth{Password: passwordOf(t, "\x00ü\x00123 ")}),
		proving("file", &vrrp.Auth{Password: passwordOf(t, "infile"), PasswordFile: file}),
		proving("keyed", &vrrp.Auth{Active: 1, Keys: []vrrp.Key{{ID: 1, File: key, Secret: secret}}}),
		proving("both", &vrrp.Auth{Active: 1, Keys: []vrrp.Key{{ID: 1, File: key, Secret: secret}}, Password: secret}), // which cannot be
	)
	text, err := os.ReadFile(left)
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{aKey, hex.EncodeToString([]byte(aKey)), base64.StdEncoding.EncodeToString([]byte(aKey)), base64.StdEncoding.EncodeToString([]byte(aKey[:8])), base64.StdEncoding.EncodeToString([]byte("infile\x00\x00"))} {
		if strings.Contains(string(text), gone) {
			t.Errorf("%q is in %s", gone, text)
		}
	}
	if info, err := os.Stat(left); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, error %v", info.Mode(), err)
	}
	saved, err := loadInstances(d.opts.RuntimeDir)
	if err != nil {
		t.Fatal(err)
	}
	speaking, mute := d.withSecrets(saved.Instances)
	if len(speaking) != len(d.cfg.Load().Instances) || len(mute) > 0 {
		t.Fatalf("%d instances can speak; of the others: %q", len(speaking), mute)
	}
	for k, want := range []vrrp.Secret{passwordOf(t, "1111"), passwordOf(t, "\x00ü\x00123 "), passwordOf(t, "infile"), {}, {}} {
		if got := speaking[k]; !got.Auth.Password.Equal(want) {
			t.Errorf("%s has another password", got.Name)
		}
	}
}

// TestWhyCleanupIsMute: the reason is what is true of the instance.
func TestWhyCleanupIsMute(t *testing.T) {
	missing := filepath.Join(commandtest.Dir(t), "web.key")
	d, left, log := saving(t,
		proving("VI_1", &vrrp.Auth{Password: passwordOf(t, "1111")}),
		proving("keyed", &vrrp.Auth{Active: 1, Keys: []vrrp.Key{{ID: 1, File: missing}}}),
		proving("file", &vrrp.Auth{PasswordFile: missing}),
		proving("plain", &vrrp.Auth{Mode: vrrp.ReceiveOnly}),
	)
	var saved map[string]json.RawMessage
	text, err := os.ReadFile(left)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	delete(saved, "Passwords") // as a daemon left it that did not keep them
	if err := writeJSON(left, saved); err != nil {
		t.Fatal(err)
	}
	known, err := loadInstances(d.opts.RuntimeDir)
	if err != nil {
		t.Fatal(err)
	}
	speaking, mute := d.withSecrets(known.Instances)
	if len(speaking) != 1 || speaking[0].Name != "plain" {
		t.Errorf("these can speak: %v", speaking)
	}
	want := []string{"VI_1: " + errNoPassword.Error(), "keyed: " + missing + " does not exist", "file: " + missing + " does not exist"}
	if strings.Join(mute, "\n") != strings.Join(want, "\n") {
		t.Errorf("it says\n%s\nwant\n%s", strings.Join(mute, "\n"), strings.Join(want, "\n"))
	}
	for _, why := range []string{errNoPassword.Error(), missing + " does not exist"} {
		if !strings.Contains(log.String(), why) {
			t.Errorf("the log does not say %q:\n%s", why, log)
		}
	}
}

// TestExchangeHasThePassword: an instance that the next program is no longer configured with hands over, with what it authenticated with.
func TestExchangeHasThePassword(t *testing.T) {
	d, _, log := saving(t, proving("VI_1", &vrrp.Auth{Password: passwordOf(t, "1111")}))
	sealed := []node.Instance{proving("VI_1", &vrrp.Auth{}), proving("plain", &vrrp.Auth{Mode: vrrp.ReceiveOnly})}
	d.rememberSecrets(sealed)
	if !sealed[0].Auth.Password.Equal(passwordOf(t, "1111")) || !sealed[1].Auth.Password.Empty() || log.Len() > 0 {
		t.Errorf("it has another password, or says %q", log)
	}
}
