package control

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// TestDaemonThatDoesNotAnswer: its socket is there and takes connections, as the kernel does for a process that is stopped.
func TestDaemonThatDoesNotAnswer(t *testing.T) {
	dir := runtimeDir(t)
	s, err := Listen(dir, "", &fakeDaemon{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Dial(dir).Report(ctx)
	silent, ok := errors.AsType[*SilentError](err)
	if !ok || silent.PID != os.Getpid() || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("the error is %#v, want that pid %d does not answer", err, os.Getpid())
	}
	if errors.Is(err, ErrNotRunning) {
		t.Error("it counts as not running")
	}
}

// TestNobodyWaitsForTheAnswer: what a frozen daemon was asked for by somebody who has given up is not done when it goes on.
func TestNobodyWaitsForTheAnswer(t *testing.T) {
	drained := 0
	s := &Server{readers: make(slots, 1), steerers: make(slots, 1), daemon: &fakeDaemon{
		drain: func(context.Context, string) (node.Drained, error) { drained++; return node.Drained{}, nil },
	}}
	s.SetSteerGroup("")
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	client, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ask := func() {
		request := httptest.NewRequestWithContext(withPeer(t.Context(), conn), "POST", "/v1/drain?for=admin", nil)
		s.handler().ServeHTTP(httptest.NewRecorder(), request)
	}
	if ask(); drained != 1 {
		t.Fatalf("drained %d times for who waits, want once", drained)
	}
	_ = client.Close()
	if ask(); drained != 1 {
		t.Errorf("drained for who is gone")
	}
}
