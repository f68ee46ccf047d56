package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

var (
	anAuth = &vrrp.Auth{Active: 1, Window: 5 * time.Second, Keys: []vrrp.Key{{ID: 1, Secret: vrrp.NewSecret([]byte(aKey))}}}
	peer   = netip.MustParseAddr("10.0.0.12")
)

const (
	aKey       = "a-key-of-32-bytes-that-is-secret"
	anotherKey = "another-key-of-32-bytes-or-more.."
)

// aMemory is what a file holds.
func aMemory(at time.Time) []node.RouterMemory {
	return []node.RouterMemory{{Interface: "eth0", VRID: 71, Family: vrrp.IPv4, Memory: vrrp.Memory{
		Sent: vrrp.SequenceAt(at), Marks: []vrrp.Mark{{Sender: peer, Sequence: vrrp.SequenceAt(at), Heard: at, Key: 1}},
	}}}
}

func TestMemoryIsWrittenAndReadBack(t *testing.T) {
	k := newMemoryKeeper(filepath.Join(t.TempDir(), memoryFile), hclog.NewNullLogger())
	if r, err := k.load(); err != nil || len(r.Routers) > 0 {
		t.Errorf("no file: %+v, error %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	at := time.Now().Round(0)
	k.save(aMemory(at.Add(-time.Hour)))
	k.save(aMemory(at))
	cancel() // a clean stop writes the last word
	if err := k.run(ctx); err != nil {
		t.Fatal(err)
	}
	r, err := k.load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(aMemory(at), r.Routers, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
	info, err := os.Stat(k.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, error %v", info.Mode(), err)
	}
}

// TestDamagedMemory: the daemon says what that means, goes on, and writes the file anew.
func TestDamagedMemory(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(path string) error
	}{
		{"half a file", func(path string) error { return os.WriteFile(path, []byte(`{"routers":[{"inter`), 0o600) }},
		{"an empty file", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
		{"a mark of nobody", func(path string) error {
			return os.WriteFile(path, []byte(`{"routers":[{"marks":[{"sender":"","sequence":1,"heard":"2026-01-01T00:00:00Z"}]}]}`), 0o600)
		}},
		{"a mark of no time", func(path string) error {
			return os.WriteFile(path, []byte(`{"routers":[{"marks":[{"sender":"10.0.0.1","sequence":1}]}]}`), 0o600)
		}},
		{"a number that is none", func(path string) error { return os.WriteFile(path, []byte(`{"routers":[{"sent":-1}]}`), 0o600) }},
		{"a directory in its place", func(path string) error { return os.Mkdir(path, 0o700) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, log := t.TempDir(), &logs{}
			if err := tt.spoil(filepath.Join(dir, memoryFile)); err != nil {
				t.Fatal(err)
			}
			for _, auth := range []*vrrp.Auth{nil, anAuth} {
				cfg := &config.Config{Instances: []node.Instance{{Auth: auth}}}
				d := newDaemon(cfg, Options{RuntimeDir: dir, StateDir: t.TempDir(), Log: hclog.New(&hclog.LoggerOptions{Output: log})})
				if err := d.openMemory(cfg); err != nil || len(d.remembered.Routers) > 0 {
					t.Errorf("error %v, remembered %+v", err, d.remembered)
				}
				if said := strings.Contains(log.String(), "can make this host wait, or give way while it is unhealthy or leaves, and never take over"); said != (auth != nil) {
					t.Errorf("with auth %v the log says %q", auth, log)
				}
			}
			k := newMemoryKeeper(filepath.Join(dir, memoryFile), hclog.NewNullLogger())
			k.replace(t.Context(), aMemory(time.Now()))
			if _, err := k.load(); (err == nil) != (tt.name != "a directory in its place") {
				t.Errorf("written anew: %v", err)
			}
		})
	}
}

// TestMemoryOnADiskThatHangs: the daemon's end waits for it no longer than for the drains.
func TestMemoryOnADiskThatHangs(t *testing.T) {
	log := &logs{}
	k := newMemoryKeeper(filepath.Join(t.TempDir(), memoryFile), hclog.New(&hclog.LoggerOptions{Output: log}))
	hangs := make(chan struct{})
	t.Cleanup(func() { close(hangs) })
	k.write = func(string, any) error { <-hangs; return nil }
	k.save(aMemory(time.Now()))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.run(ctx) }()
	cancel()
	select {
	case err := <-ended:
		if err != nil || !strings.Contains(log.String(), "the disk does not answer") {
			t.Errorf("%v; the log says %q", err, log)
		}
	case <-time.After(saveBound + 2*time.Second):
		t.Error("it does not end")
	}
}

// heardAdvert is a signed advert of the peer.
func heardAdvert(t testing.TB, signer *vrrp.Authenticator, now time.Time, priority uint8) node.Heard {
	t.Helper()
	a := vrrp.Advert{Version: vrrp.V3, VRID: 71, Priority: priority, Interval: time.Second, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")}}
	trailer, err := signer.Sign(anAuth, now, &a, peer)
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.AppendSealed(nil, peer, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader, trailer)
	if err != nil {
		t.Fatal(err)
	}
	r, err := vrrp.Parse(b, peer, vrrp.GroupIPv4, vrrp.HopLimit)
	if err != nil {
		t.Fatal(err)
	}
	return node.Heard{Interface: "eth0", Received: r}
}

// authenticated is a configuration with one instance that has keys.
func authenticated() node.Config {
	i := on("web", "eth0", 71, "192.0.2.10")
	i.Auth, i.Version, i.Interval, i.DeadAdverts = anAuth, vrrp.V3, time.Second, 3
	return node.Config{Name: "lb1", Instances: []node.Instance{i}}
}

// TestMemoryIsSavedOnceASecond, whatever is heard.
func TestMemoryIsSavedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(&config.Config{Node: "lb1"}, Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})
		l := &loop{Daemon: d, node: node.New(authenticated(), time.Now()), statuses: map[string]string{}}
		if l.remember(); l.memoryDue != nil {
			t.Error("there is nothing to remember yet")
		}
		var signer vrrp.Authenticator
		saves := 0
		for begin := time.Now(); time.Since(begin) < 5*time.Second; time.Sleep(10 * time.Millisecond) {
			l.step(heardAdvert(t, &signer, time.Now(), 150))
			l.remember()
			select {
			case <-l.memoryDue:
				l.memorize()
				saves++
			default:
			}
		}
		if saves < 4 || saves > 6 {
			t.Errorf("saved %d times in 5 s", saves)
		}
		if got := <-d.memory[0].latest; len(got) != 1 || len(got[0].Marks) != 1 || got[0].Marks[0].Sender != peer {
			t.Errorf("saved %+v", got)
		}
	})
}

// ends are the ways in which a daemon ends, by what they leave of the directories.
var ends = []struct {
	name  string
	leave func(t *testing.T, runtimeDir, stateDir string)
	knows bool   // what was heard
	says  string // in the log; empty: nothing
}{
	{"killed", func(*testing.T, string, string) {}, true, ""},
	{"stopped, and the service manager removed the runtime directory", func(t *testing.T, runtimeDir, _ string) { remove(t, runtimeDir) }, true, ""},
	{"the newer file damaged", func(t *testing.T, runtimeDir, _ string) { damage(t, runtimeDir) }, true, "an older note counts"},
	{"the older file damaged", func(t *testing.T, _, stateDir string) { damage(t, stateDir) }, true, ""},
	{"both damaged", func(t *testing.T, runtimeDir, stateDir string) { damage(t, runtimeDir); damage(t, stateDir) }, false, "is lost: adverts that were sent before this start"},
	{"both gone", func(t *testing.T, runtimeDir, stateDir string) { remove(t, runtimeDir); remove(t, stateDir) }, false, ""},
}

func remove(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, memoryFile)); err != nil {
		t.Fatal(err)
	}
}

func damage(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, memoryFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReplayAfterRestart: what the daemon before heard is refused by the next one, and without its files it makes a backup wait at most.
func TestReplayAfterRestart(t *testing.T) {
	for _, end := range ends {
		t.Run(end.name, func(t *testing.T) {
			o := Options{RuntimeDir: t.TempDir(), StateDir: filepath.Join(t.TempDir(), "state"), Log: hclog.NewNullLogger()}
			var signer vrrp.Authenticator
			d := newDaemon(&config.Config{Node: "lb1"}, o)
			now := time.Now()
			n := node.New(authenticated(), now)
			caught := heardAdvert(t, &signer, now.Add(-2*time.Second), 0)
			n.Step(now, heardAdvert(t, &signer, now, 150))
			for _, k := range d.memory {
				k.replace(t.Context(), n.Memory(now))
			}
			end.leave(t, o.RuntimeDir, o.StateDir)

			log := &logs{}
			o.Log = hclog.New(&hclog.LoggerOptions{Output: log})
			cfg := &config.Config{Instances: authenticated().Instances}
			d = newDaemon(cfg, o)
			if err := d.openMemory(cfg); err != nil {
				t.Fatal(err)
			}
			next := node.New(authenticated(), now)
			next.Step(now, d.remembered)
			next.Step(now, caught)
			later := now.Add(time.Second)
			next.Step(later, heardAdvert(t, &signer, later, 150))
			r := next.Status(later).Instances[0].Routers[0]
			refused, early := r.Refused[vrrp.ErrAuthReplay.Reason()], r.Notices["early"]
			if (refused != nil) != end.knows || (early != nil) == end.knows || len(r.Auth.Senders) != 1 {
				t.Errorf("refused %+v, early %+v, senders %+v", refused, early, r.Auth.Senders)
			}
			if got := log.String(); !strings.Contains(got, end.says) || (got == "") != (end.says == "") {
				t.Errorf("the log says %q, want %q", got, end.says)
			}
		})
	}
}

// TestDurableMemory is written at once, then once a minute, and at the end, whatever is heard.
func TestDurableMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newMemories("/run/understudy", "/var/lib/understudy", hclog.NewNullLogger())
		var mu sync.Mutex // guards what follows
		written := map[string][]time.Duration{}
		begin := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		var tasks sync.WaitGroup
		for _, k := range all {
			k.write = func(path string, _ any) error {
				mu.Lock()
				defer mu.Unlock()
				written[filepath.Dir(path)] = append(written[filepath.Dir(path)], time.Since(begin))
				return nil
			}
			tasks.Go(func() { _ = k.run(ctx) })
		}
		for range 150 {
			all.save(aMemory(time.Now()))
			synctest.Wait()
			time.Sleep(time.Second)
		}
		all.save(aMemory(time.Now()))
		cancel()
		tasks.Wait()
		want := []time.Duration{0, time.Minute, 2 * time.Minute, 150 * time.Second}
		if got := written["/var/lib/understudy"]; !slices.Equal(got, want) || len(written["/run/understudy"]) != 151 {
			t.Errorf("the durable file is written at %v, want %v; the other one %d times", got, want, len(written["/run/understudy"]))
		}
	})
}

// TestMemoryThatCannotBeSaved is told once for each error, and what to do.
func TestMemoryThatCannotBeSaved(t *testing.T) {
	dir, log := filepath.Join(t.TempDir(), "state"), &logs{}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // root may write anywhere, but not below a file
		t.Fatal(err)
	}
	k := newMemories(t.TempDir(), dir, hclog.New(&hclog.LoggerOptions{Output: log}))[1]
	k.replace(t.Context(), aMemory(time.Now()))
	k.replace(t.Context(), aMemory(time.Now()))
	if got := log.String(); strings.Count(got, "let the daemon's user write there") != 1 || !strings.Contains(got, dir) {
		t.Errorf("the log says %q", got)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	k.replace(t.Context(), aMemory(time.Now()))
	info, err := os.Stat(k.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, error %v", info, err)
	}
	if left, err := filepath.Glob(k.path + ".*"); err != nil || len(left) > 0 {
		t.Errorf("beside it lies %v, error %v", left, err)
	}
}

// TestClockSetBack is told where there is authentication: without it no clock matters.
func TestClockSetBack(t *testing.T) {
	for ahead, want := range map[time.Duration]bool{time.Hour: true, -time.Hour: false, 100 * time.Millisecond: false} {
		for _, auth := range []*vrrp.Auth{nil, anAuth} {
			log := &logs{}
			o := Options{RuntimeDir: t.TempDir(), StateDir: t.TempDir(), Log: hclog.New(&hclog.LoggerOptions{Output: log})}
			cfg := &config.Config{Instances: []node.Instance{{Auth: auth}}}
			d := newDaemon(cfg, o)
			d.memory[0].replace(t.Context(), aMemory(time.Now().Add(ahead)))
			if err := d.openMemory(cfg); err != nil {
				t.Fatal(err)
			}
			if said := strings.Contains(log.String(), "clock was set back"); said != (want && auth != nil) {
				t.Errorf("%s, with auth %v: the log says %q", ahead, auth, log)
			}
		}
	}
}

// FuzzMemory: no file makes the daemon panic, and what is read can be gone on with.
func FuzzMemory(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"routers":[{"interface":"eth0","vrid":71,"family":4,"sent":7493989780224638976,"marks":[{"sender":"10.0.0.12","sequence":7493989780224638976,"heard":"2026-01-01T00:00:00Z","key":1}]}]}`,
		`{"routers":[{"interface":"eth0","vrid":71,"family":4,"marks":[{"sender":"10.0.0.12","sequence":18446744073709551615,"heard":"9999-12-31T23:59:59Z"}]}]}`,
		`{"routers":[{"interface":"eth0","vrid":71,"family":4,"marks":[{"sender":"fe80::1%eth0","sequence":1,"heard":"0001-01-02T00:00:00Z"}]}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k := newMemoryKeeper(filepath.Join(t.TempDir(), memoryFile), hclog.NewNullLogger())
		if err := os.WriteFile(k.path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		now := time.Date(2026, 1, 1, 0, 0, 5, 0, time.UTC)
		n := node.New(authenticated(), now)
		ev, err := k.load()
		if err != nil && len(ev.Routers) > 0 {
			t.Fatalf("%+v, error %v", ev, err)
		}
		n.Step(now, ev)
		var signer vrrp.Authenticator
		n.Step(now, heardAdvert(t, &signer, now, 150))
		k.replace(t.Context(), n.Memory(now))
		if _, err := k.load(); err != nil {
			t.Fatalf("what was written from %q cannot be read: %v", b, err)
		}
	})
}

// keyed is a configuration whose key is in another directory.
func keyed(key string) string {
	return strings.TrimSuffix(text(150), "}\n") + fmt.Sprintf("  auth {\n    active = 1\n    key \"1\" {\n      file = %q\n    }\n  }\n}\n", key)
}

// TestWatchSeesAnotherKey: a key that is replaced in its place is used within a second, and one that others may read is refused
// until its rights are mended.
func TestWatchSeesAnotherKey(t *testing.T) {
	key := filepath.Join(commandtest.Dir(t), "keys", "web.key")
	write(t, key, aKey)
	path := filepath.Join(t.TempDir(), "understudy.hcl")
	write(t, path, keyed(key))
	r := newReloading(t, path)
	is := func(key string) func() bool {
		return func() bool { return r.cfg.Load().Instances[0].Auth.Keys[0].Secret.Equal(vrrp.NewSecret([]byte(key))) }
	}
	write(t, key+"~", anotherKey)
	rename(t, key+"~", key)
	eventually(t, "the other key is used", is(anotherKey))
	write(t, key+"~", aKey)
	if err := os.Chmod(key+"~", 0o644); err != nil {
		t.Fatal(err)
	}
	rename(t, key+"~", key)
	eventually(t, "a key that others may read is refused", func() bool {
		return strings.Contains(r.loaded.Load().Rejected, "has mode 0644") && is(anotherKey)()
	})
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is used once they may not", is(aKey))
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a key that is gone changes nothing", func() bool {
		return strings.Contains(r.loaded.Load().Rejected, "does not exist") && is(aKey)()
	})
	for _, secret := range []string{aKey, anotherKey} {
		if strings.Contains(r.log.String()+r.loaded.Load().Rejected, secret) {
			t.Error("a key is in the log")
		}
	}
}

// TestMemoryOfAShadow: what it heard is not all that the daemon before it had heard, and must not take the place of that.
func TestMemoryOfAShadow(t *testing.T) {
	o := Options{RuntimeDir: t.TempDir(), StateDir: t.TempDir(), Log: hclog.NewNullLogger()}
	runs := func(o Options) memories { return newDaemon(&config.Config{Node: "lb1"}, o).memory }
	at := time.Now().Round(0)
	ended, end := context.WithCancel(t.Context())
	end()
	last := func(all memories, at time.Time) {
		t.Helper()
		all.save(aMemory(at))
		for _, k := range all {
			if err := k.run(ended); err != nil {
				t.Fatal(err)
			}
		}
	}
	last(runs(o), at)
	if err := os.Remove(filepath.Join(o.RuntimeDir, memoryFile)); err != nil { // what a reboot does
		t.Fatal(err)
	}
	shadow := o
	shadow.Shadow = true
	last(runs(shadow), at.Add(-time.Hour))
	for _, tt := range []struct {
		name string
		o    Options
		want time.Time
	}{{"the daemon", o, at}, {"the shadow", shadow, at.Add(-time.Hour)}} {
		r, err := runs(tt.o).load()
		if diff := cmp.Diff(aMemory(tt.want), r.Routers, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateApproxTime(0)); err != nil || diff != "" {
			t.Errorf("%s remembers, error %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
}
