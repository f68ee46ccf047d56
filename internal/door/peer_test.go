package door

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/notify"
)

// The users of TestOnlyTheDaemonMayAsk.
const (
	daemonUID   = 65534
	strangerUID = 65533
)

// asAsker makes this test program a daemon that asks the helper at this path to run the hook "tell".
const asAsker = "UNDERSTUDY_TEST_ASK"

func TestMain(m *testing.M) {
	if path := os.Getenv(asAsker); path != "" {
		fmt.Print(hookText(New(path), context.Background(), "tell", notify.Master))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestOnlyTheDaemonMayAsk(t *testing.T) {
	h := withScripts(t, newHelper(t, hooks))
	if err := errors.Join(os.Chmod(h.path, 0o666), os.Chmod(filepath.Dir(h.path), 0o755), os.Chmod(filepath.Dir(filepath.Dir(h.path)), 0o755)); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(h.dir, "ask")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock() // a process forked meanwhile would keep it from being executed
	err = os.WriteFile(program, self, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		uid  uint32
		want string
	}{
		{"the daemon's user", daemonUID, "root one INSTANCE web MASTER 150\n"},
		{"a stranger", strangerUID, "the helper refuses: uid 65533 may not ask: only root and nobody (uid 65534) may"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Env, cmd.Dir = []string{asAsker + "=" + h.path}, "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: tt.uid, Gid: tt.uid}}
			if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), tt.want) {
				t.Errorf("%v: %s\nwant %s", err, out, tt.want)
			}
		})
	}
	if err := mayAsk(strangerUID, "understudy-no-such"); err == nil || err.Error() != `uid 65533 may not ask: only root and the daemon's user may, and user "understudy-no-such" does not exist on this host` {
		t.Errorf("without such a user: %v", err)
	}
}
