package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// helperDir makes this test program a client of the daemon with that runtime directory: how another user is one.
const helperDir = "CONTROL_TEST_CLIENT_OF"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		for _, what := range requests {
			fmt.Println(ask(Dial(dir), what))
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// requests are all that there is to ask.
var requests = []string{"status", "drain", "undrain", "reload", "reexec"}

// ask returns the error in words.
func ask(c *Client, what string) string {
	var err error
	switch what {
	case "status":
		_, err = c.Report(context.Background())
	case "drain":
		_, err = c.Drain(context.Background(), "admin")
	case "undrain":
		_, err = c.Undrain(context.Background(), "admin")
	case "reload":
		_, err = c.Reload(context.Background())
	case "reexec":
		_, err = c.Reexec(context.Background())
	}
	if err != nil {
		return err.Error()
	}
	return may
}

// may is the answer to who may.
const may = "done"

const nobody = 65534

// gid looks up a group that every Debian host has.
func gid(t *testing.T, name string) uint32 {
	t.Helper()
	g, err := user.LookupGroup(name)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(g.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func TestWhoMaySteer(t *testing.T) {
	if os.Geteuid() != 0 {
		unavailable(t, "needs root, to become other users")
	}
	dir := runtimeDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self := commandtest.Self(t, dir, "client")
	server, _ := serve(t, dir, "", &fakeDaemon{
		drain:   func(context.Context, string) (node.Drained, error) { return node.Drained{}, nil },
		undrain: func(context.Context, string) error { return nil },
		reload:  func(context.Context) (node.Reloaded, error) { return node.Reloaded{}, nil },
		reexec:  func(context.Context) error { return nil },
	})
	readers, steerers := gid(t, "daemon"), gid(t, "adm")
	if err := os.Chown(filepath.Join(dir, socketName), -1, int(readers)); err != nil {
		t.Fatal(err)
	}
	many := []uint32{readers, steerers}
	for k := range uint32(500) {
		many = append(many, 100000+k)
	}
	const (
		noEntry  = "be root, or a member of the socket's group"
		rootOnly = `only root may steer; name a group in control { steer_group = "..." } to let its members`
		notAdm   = `only root and the members of group "adm" may steer`
	)
	tests := []struct {
		name, group string
		as          syscall.Credential
		read, steer string
	}{
		{"root, without a group", "", syscall.Credential{}, may, may},
		{"root, whatever the group", "adm", syscall.Credential{}, may, may},
		{"a reader, without a group", "", syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{readers}}, may, rootOnly},
		{"a reader who is not in the group", "adm", syscall.Credential{Uid: nobody, Gid: readers}, may, notAdm},
		{"a member by supplementary group", "adm", syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{readers, steerers}}, may, may},
		{"a member by primary group", "adm", syscall.Credential{Uid: nobody, Gid: steerers, Groups: []uint32{readers}}, may, may},
		{"a member of very many groups", "adm", syscall.Credential{Uid: nobody, Gid: nobody, Groups: many}, may, may},
		{"root's group is no substitute for root", "adm", syscall.Credential{Uid: nobody, Gid: 0, Groups: []uint32{readers}}, may, notAdm},
		{"a group that does not exist", "no-such-group", syscall.Credential{Uid: nobody, Gid: readers}, may, "only root may steer: steer_group: group: unknown group no-such-group"},
		{"one who may not open the socket", "adm", syscall.Credential{Uid: nobody, Gid: steerers}, noEntry, noEntry},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server.SetSteerGroup(tt.group)
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = []string{helperDir + "=" + dir, "GORACE=atexit_sleep_ms=0"}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &tt.as}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			if len(lines) != len(requests) {
				t.Fatalf("the client says %q", lines)
			}
			for k, what := range requests {
				want := tt.steer
				switch {
				case what == "status":
					want = tt.read
				case what == "reexec" && tt.as.Uid != 0 && tt.read == may:
					want = "only root may exchange the daemon's program"
				}
				if !strings.HasSuffix(lines[k], want) {
					t.Errorf("%s: %q, want %q", what, lines[k], want)
				}
			}
		})
	}
}

func TestPeerOfSomethingElseMayNotSteer(t *testing.T) {
	one, other := net.Pipe()
	defer func() { _, _ = one.Close(), other.Close() }()
	p := peerOf(one)
	if err := p.maySteer("adm", nobody); err == nil || err.Error() != "*net.pipe is not a unix socket" {
		t.Errorf("error %v", err)
	}
	if err := (peer{uid: nobody}).maySteer("", 0); err == nil {
		t.Error("a peer without groups may steer")
	}
	if err := (peer{uid: nobody}).maySteer("", nobody); err != nil {
		t.Errorf("the daemon's own user may not steer: %v", err)
	}
}

// unavailable skips a test that this machine cannot run; with CI set, that is a failure.
func unavailable(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason + "; with CI set that is a failure")
	}
	t.Skip(reason)
}
