package checks

import (
	"cmp"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// listen serves each connection by handle until the test ends.
func listen(t *testing.T, network, address string, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				handle(conn)
			}()
		}
	}()
	return l.Addr().String()
}

func TestTCP(t *testing.T) {
	silent := listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	pong := listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		buf := make([]byte, 4)
		if _, err := io.ReadFull(c, buf); err == nil && string(buf) == "PING" {
			for _, part := range []string{"+P", "ON", "G\r\n"} {
				_, _ = io.WriteString(c, part)
				time.Sleep(time.Millisecond)
			}
			_, _ = io.Copy(io.Discard, c)
		}
	})
	closer := listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) { _, _ = io.WriteString(c, "bye") })
	flood := listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		for block := strings.Repeat("x", 32<<10); ; {
			if _, err := io.WriteString(c, block); err != nil {
				return
			}
		}
	})
	socket := filepath.Join(t.TempDir(), "s")
	listen(t, "unix", socket, func(c net.Conn) { _, _ = io.WriteString(c, "ready\n") })
	refused := "127.0.0.1:1"
	const short = 300 * time.Millisecond
	tests := []struct {
		name    string
		options TCPOptions
		timeout time.Duration
		word    string
		want    string
	}{
		{name: "a connection is enough", options: TCPOptions{Address: silent}, word: "connected to " + silent},
		{name: "refused", options: TCPOptions{Address: refused}, want: "connect to " + refused + ": connection refused"},
		{name: "send and expect", options: TCPOptions{Address: pong, Send: "PING", Expect: `^\+PONG`}, word: pong + " answered as expected"},
		{name: "no answer", options: TCPOptions{Address: silent, Send: "PING", Expect: "PONG"}, timeout: short,
			want: silent + ": timed out after 300ms waiting for the answer"},
		{name: "another answer", options: TCPOptions{Address: closer, Expect: "hello"},
			want: closer + `: closed the connection after 3 bytes, none matched "hello"`},
		{name: "an endless answer", options: TCPOptions{Address: flood, Expect: "y"}, want: flood + `: no match for "y" in the first 64 KiB`},
		{name: "no TLS there", options: TCPOptions{Address: silent, TLS: true, TLSSkipVerify: true}, timeout: short,
			want: silent + ": timed out after 300ms in the TLS handshake"},
		{name: "a unix socket", options: TCPOptions{Address: "unix:" + socket, Expect: "ready"}, word: socket + " answered as expected"},
		{name: "no unix socket", options: TCPOptions{Address: "unix:/nonexistent/s"}, want: "connect to /nonexistent/s: no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, got := examine(t, &tt.options, cmp.Or(tt.timeout, ample))
			if diff := gocmp.Diff(tt.want, got); diff != "" {
				t.Errorf("reason (-want +got):\n%s", diff)
			}
			if tt.want == "" && f.Word != tt.word {
				t.Errorf("word %q, want %q", f.Word, tt.word)
			}
		})
	}
}

func TestImpossibleTCPOptionsAreNamed(t *testing.T) {
	form := ` is not host:port or unix:/path, such as "127.0.0.1:443", "[::1]:443" or "unix:/run/app.sock"`
	tests := []struct {
		name    string
		options TCPOptions
		want    []OptionError
	}{
		{"no port", TCPOptions{Address: "localhost"}, []OptionError{{"address", `"localhost"` + form}}},
		{"no host", TCPOptions{Address: ":80"}, []OptionError{{"address", `":80"` + form}}},
		{"a port that is none", TCPOptions{Address: "h:99999"}, []OptionError{{"address", `"h:99999": port "99999" is not a number between 1 and 65535`}}},
		{"a relative socket", TCPOptions{Address: "unix:s"}, []OptionError{{"address", `"unix:s": "s" is not an absolute path`}}},
		{"a name without TLS", TCPOptions{Address: "h:1", TLSServerName: "n"}, []OptionError{{"tls_server_name", "has no effect without TLS; set tls = true"}}},
		{"TLS over a socket without a name", TCPOptions{Address: "unix:/s", TLS: true},
			[]OptionError{{"tls_server_name", "is needed to verify the certificate of a server behind a unix socket"}}},
		{"CA and skip-verify", TCPOptions{Address: "h:1", TLS: true, TLSSkipVerify: true, TLSCAFile: "f"},
			[]OptionError{{"tls_ca_file", "has no effect with tls_skip_verify; leave one of them out"}}},
		{"a good one", TCPOptions{Address: "[::1]:443", TLS: true, Expect: "a+"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := gocmp.Diff(tt.want, tt.options.Validate()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
