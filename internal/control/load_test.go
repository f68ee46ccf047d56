package control

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

func TestOneMoreClientThanThereIsRoomIsToldToComeBack(t *testing.T) {
	dir := runtimeDir(t)
	arrived, release := make(chan struct{}, maxClients), make(chan struct{})
	serve(t, dir, "", &fakeDaemon{
		report: func() node.Report { return node.Report{Node: &node.Status{Node: "lb1"}} },
		drain: func(ctx context.Context, _ string) (node.Drained, error) {
			arrived <- struct{}{}
			select {
			case <-release:
			case <-ctx.Done():
			}
			return node.Drained{}, ctx.Err()
		},
	})
	c := Dial(dir)
	var waiting sync.WaitGroup
	errs := make(chan error, maxClients)
	for k := range maxClients {
		waiting.Go(func() {
			_, err := c.Drain(t.Context(), fmt.Sprintf("client %d", k))
			errs <- err
		})
	}
	for range maxClients {
		await(t, arrived)
	}
	if _, err := c.Drain(t.Context(), "one more"); err == nil || !strings.Contains(err.Error(), "too many requests at once; try again") {
		t.Errorf("one more: error %v", err)
	}
	if _, err := c.Report(t.Context()); err != nil {
		t.Errorf("steering that waits keeps status from being shown: %v", err)
	}
	close(release)
	waiting.Wait()
	for range maxClients {
		if err := <-errs; err != nil {
			t.Errorf("one that had room: %v", err)
		}
	}
	if _, err := c.Drain(t.Context(), "later"); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(bound):
		t.Fatal("nobody came")
	}
}

// raw connects and writes as a client that then does nothing more.
func raw(t *testing.T, dir, request string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(dir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	return c
}

// Nobody may keep a connection for good, and with all of them the socket, by a body that is announced and never sent.
func TestBodiesThatNeverComeHoldNobodyUpForLong(t *testing.T) {
	dir := runtimeDir(t)
	serve(t, dir, "", &fakeDaemon{report: func() node.Report { return node.Report{Node: &node.Status{Node: "lb1"}} }})
	var first net.Conn
	for k := range maxConnections {
		method := "GET /v1/status HTTP/1.1\r\nHost: understudy\r\nContent-Length: 10\r\n\r\n"
		if k%2 == 1 {
			method = "POST /v1/drain?for=x HTTP/1.1\r\nHost: understudy\r\nTransfer-Encoding: chunked\r\n\r\n"
		}
		if c := raw(t, dir, method); first == nil {
			first = c
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	if _, err := Dial(dir).Report(ctx); err != nil {
		t.Errorf("status while %d bodies are awaited: %v", maxConnections, err)
	}
	_ = first.SetReadDeadline(time.Now().Add(bound))
	answer, err := io.ReadAll(first)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400") || !strings.Contains(string(answer), "a request here has no body") {
		t.Errorf("answer %q, %v", answer, err)
	}
}

func TestClientsThatDoNotReadTheirAnswerHoldNobodyUp(t *testing.T) {
	dir := runtimeDir(t)
	asked := make(chan struct{}, 2*maxClients)
	huge := strings.Repeat("x", 1<<20) // more than the socket's buffers take
	serve(t, dir, "", &fakeDaemon{
		report: func() node.Report {
			asked <- struct{}{}
			return node.Report{Version: huge, Node: &node.Status{Node: "lb1"}}
		},
		reload: func(context.Context) (node.Reloaded, error) { return node.Reloaded{Summary: "unchanged"}, nil },
	})
	for range maxClients {
		raw(t, dir, "GET /v1/status HTTP/1.1\r\nHost: understudy\r\n\r\n")
		await(t, asked)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	if r, err := Dial(dir).Report(ctx); err != nil || r.Version != huge {
		t.Errorf("status: error %v, version of %d bytes", err, len(r.Version))
	}
	if _, err := Dial(dir).Reload(ctx); err != nil {
		t.Errorf("reload: %v", err)
	}
}

func TestClientsThatSendNothingHoldNobodyUp(t *testing.T) {
	dir := runtimeDir(t)
	serve(t, dir, "", &fakeDaemon{})
	for range maxConnections / 2 {
		raw(t, dir, "GET /v1/st")
	}
	ctx, cancel := context.WithTimeout(t.Context(), headerBound/2)
	defer cancel()
	if _, err := Dial(dir).Report(ctx); err != nil {
		t.Error(err)
	}
}

func TestEndDoesNotWaitForClients(t *testing.T) {
	dir := runtimeDir(t)
	arrived := make(chan struct{}, 1)
	_, stop := serve(t, dir, "", &fakeDaemon{drain: func(ctx context.Context, _ string) (node.Drained, error) {
		arrived <- struct{}{}
		<-ctx.Done() // ends with the server
		return node.Drained{}, ctx.Err()
	}})
	failed := make(chan error, 1)
	go func() {
		_, err := Dial(dir).Drain(t.Context(), "admin")
		failed <- err
	}()
	await(t, arrived)
	raw(t, dir, "POST /v1/drain?for=x HTTP/1.1\r\nHost: u\r\nContent-Length: 1000\r\n\r\n")
	start := time.Now()
	stop()
	if took := time.Since(start); took > shutdownBound+2*time.Second {
		t.Errorf("the end took %s", took)
	}
	if err := <-failed; err == nil {
		t.Error("a drain that the end cut off counts as done")
	}
}

func TestPanicInTheDaemonGivesTheSlotBack(t *testing.T) {
	dir := runtimeDir(t)
	panics := true
	s, _ := serve(t, dir, "", &fakeDaemon{reload: func(context.Context) (node.Reloaded, error) {
		if panics {
			panic("a test's panic; the server prints its stack")
		}
		return node.Reloaded{Summary: "unchanged"}, nil
	}})
	if _, err := Dial(dir).Reload(t.Context()); err == nil {
		t.Error("a panic counts as an answer")
	}
	panics = false
	if _, err := Dial(dir).Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(s.steerers); n != 0 {
		t.Errorf("%d slots are taken for good", n)
	}
}
