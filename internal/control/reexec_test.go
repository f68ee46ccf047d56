package control

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

func TestReexecSaysWhyNot(t *testing.T) {
	dir := runtimeDir(t)
	serve(t, dir, "", &fakeDaemon{reexec: func(context.Context) error { return errors.New("another format") }})
	if _, err := Dial(dir).Reexec(t.Context()); err == nil || err.Error() != "another format" {
		t.Errorf("got %v", err)
	}
}

// duplicate gives a second descriptor of what a server hands on, as the next program in the process has it.
func duplicate(t *testing.T, c syscall.Conn) *os.File {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var f *os.File
	if err := raw.Control(func(fd uintptr) {
		copied, err := syscall.Dup(int(fd))
		if err != nil {
			t.Error(err)
			return
		}
		f = os.NewFile(uintptr(copied), "inherited")
	}); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestInheritServesWhoWaited connects while nobody serves: what was asked meanwhile is answered by the next server, which has
// the lock of the directory too.
func TestInheritServesWhoWaited(t *testing.T) {
	dir := runtimeDir(t)
	first, err := Listen(dir, "", &fakeDaemon{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var files []*os.File
	for _, f := range first.Files() {
		files = append(files, duplicate(t, f))
	}
	answered := make(chan error, 1)
	go func() {
		r, err := Dial(dir).Report(t.Context())
		if err == nil && r.Version != "2" {
			err = errors.New("version " + r.Version)
		}
		answered <- err
	}()
	second, err := Inherit(files, "", &fakeDaemon{report: func() node.Report { return node.Report{Version: "2", Node: &node.Status{}} }})
	if err != nil {
		t.Fatal(err)
	}
	first.socket.SetUnlinkOnClose(false) // a program that is executed closes without that
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(dir, "", &fakeDaemon{}, nil); err == nil || !strings.Contains(err.Error(), "another daemon runs") {
		t.Errorf("a second daemon: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- second.Run(ctx) }()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	cancel()
	if err := errors.Join(<-ended, second.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, socketName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
}

func TestInheritRefusesOtherFiles(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string][]*os.File{"none": nil, "no socket": {null, null}} {
		if _, err := Inherit(files, "", &fakeDaemon{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestRequestsThatAreCutAreRepeated closes the first connection in the middle of a request, as a daemon does that becomes
// another program.
func TestRequestsThatAreCutAreRepeated(t *testing.T) {
	dir := runtimeDir(t)
	cutter, err := net.Listen("unix", filepath.Join(dir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			c, err := cutter.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1024))
			if n > 0 {
				_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
			}
			_ = c.Close()
		}
	}()
	if _, err := Dial(dir).Undrain(t.Context(), "admin"); err != nil {
		t.Errorf("a request that was cut once: %v", err)
	}
	_ = cutter.Close()
	select {
	case <-done:
	case <-time.After(bound):
		t.Error("the listener does not end")
	}
}
