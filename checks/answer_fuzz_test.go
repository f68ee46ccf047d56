package checks

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// answerWith says the same to everyone who connects to the socket and has asked for something; the connection ends after it.
func answerWith(f *testing.F, socket string) *atomic.Pointer[[]byte] {
	l, err := net.Listen("unix", socket)
	if err != nil {
		f.Fatal(err)
	}
	var answer atomic.Pointer[[]byte]
	var serving sync.WaitGroup
	f.Cleanup(func() { _ = l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			_, _ = conn.Read(make([]byte, 4<<10))
			_, _ = conn.Write(*answer.Load())
			_ = conn.Close()
		}
	})
	return &answer
}

// FuzzAnswer has an http and a tcp check read what a server may say: neither breaks, and each is healthy only for what it asks for.
func FuzzAnswer(f *testing.F) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is well"
	for _, text := range []string{
		ok, ok[:20], ok[:len(ok)-1], "HTTP/1.1 100 Continue\r\n\r\n" + ok, "HTTP/1.0 399 \x1b[2J\r\n\r\nwell", "HTTP/1.1 503 No\r\n\r\nwell", "HTTP/1.1 204 No\r\n\r\nwell",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\nwell",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nwell", "PRI * HTTP/2.0\r\n\r\n", "well", "",
		"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\nwell", "HTTP/1.1 301 Moved\r\nLocation: https://a:b@[::1%zz]:99999/\r\n\r\nwell", "HTTP/1.1 308 Gone\r\n\r\nwell",
	} {
		f.Add([]byte(text))
	}
	socket := filepath.Join(f.TempDir(), "s")
	answer := answerWith(f, socket)
	web, err := httpOptions(func(o *HTTPOptions) { o.URL, o.UnixSocket, o.ExpectBody = "http://web/", socket, "well" }).New()
	if err != nil {
		f.Fatal(err)
	}
	followed, err := httpOptions(func(o *HTTPOptions) {
		o.URL, o.UnixSocket, o.ExpectBody, o.FollowRedirects = "http://web/", socket, "well", true
	}).New()
	if err != nil {
		f.Fatal(err)
	}
	plain := &tcpChecker{network: "unix", address: socket, send: "?", expect: regexp.MustCompile("well")}
	f.Fuzz(func(t *testing.T, text []byte) {
		answer.Store(&text)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := web.Check(ctx); err == nil && !isWell(text) {
			t.Errorf("http is healthy for %q", text)
		}
		if err := followed.Check(ctx); err == nil && !isWell(text) {
			t.Errorf("http that follows redirects is healthy for %q", text)
		}
		if err := plain.Check(ctx); (err == nil) != bytes.Contains(text[:min(len(text), maxRead)], []byte("well")) {
			t.Errorf("tcp says %v to %q", err, text)
		}
	})
}

// isWell reads an answer as the http check is to see it.
func isWell(text []byte) bool {
	for in := bufio.NewReader(bytes.NewReader(text)); ; {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return false
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue // one that only goes before another
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxRead))
		return err == nil && resp.StatusCode >= 200 && resp.StatusCode <= 399 && bytes.Contains(body, []byte("well"))
	}
}
