package command_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/command"
	"github.com/understudy-ha/understudy/internal/command/commandtest"
)

// asDaemon says that this process plays the daemon of TestRunHandsNoAmbientCapabilityOn; it holds the script's path.
const asDaemon = "UNDERSTUDY_TEST_AMBIENT_SCRIPT"

func TestRunHandsNoAmbientCapabilityOn(t *testing.T) {
	if path := os.Getenv(asDaemon); path != "" {
		playDaemon(t, path)
		return
	}
	needRoot(t)
	dir := commandtest.Dir(t)
	path := commandtest.Script(t, dir, "s", "grep '^CapAmb' /proc/self/status | cut -f2")
	cmd := exec.Command(copyOfTest(t, dir), "-test.run=^TestRunHandsNoAmbientCapabilityOn$", "-test.v")
	cmd.Env = append(os.Environ(), asDaemon+"="+path)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
		AmbientCaps: []uintptr{unix.CAP_NET_ADMIN},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func playDaemon(t *testing.T, path string) {
	plain, err := exec.Command(path).Output()
	if err != nil || string(plain) != "0000000000001000\n" {
		t.Fatalf("an ordinary child has ambient capabilities %q, %v; want CAP_NET_ADMIN, else this test shows nothing", plain, err)
	}
	out, err := command.Run(t.Context(), command.Spec{Argv: []string{path}})
	if err != nil || out.LastLine() != "0000000000000000" {
		t.Errorf("a command has ambient capabilities %q, %v; want none", out.LastLine(), err)
	}
}

// copyOfTest puts the running test binary where another user may execute it.
func copyOfTest(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = self.Close() }()
	path := filepath.Join(dir, "command.test")
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(file, self); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
