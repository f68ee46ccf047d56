package checks

import (
	"cmp"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// httpOptions are the defaults with a change.
func httpOptions(change func(*HTTPOptions)) *HTTPOptions {
	o := newHTTPOptions().(*HTTPOptions)
	change(o)
	return o
}

// serve answers what the tests ask for.
func serve(t *testing.T) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "all is well") })
	mux.HandleFunc("/ill", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ill", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "some")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "short")
	})
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) {
		block := strings.Repeat("x", 1<<20)
		for range 64 {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, "the end")
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s host=%s x=%s agent=%s body=%s", r.Proto, r.Method, r.Host, r.Header.Get("X-Check"), r.UserAgent(), body)
	})
	return mux
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(serve(t))
	defer server.Close()
	tests := []struct {
		name    string
		path    string
		options func(*HTTPOptions)
		timeout time.Duration
		word    string
		want    string // URL stands for the server
	}{
		{name: "200", path: "/ok", word: "200 OK"},
		{name: "500", path: "/ill", want: "GET URL/ill: 500 Internal Server Error, expected 200-399"},
		{
			name: "500 where it is expected", path: "/ill", word: "500 Internal Server Error",
			options: func(o *HTTPOptions) { o.ExpectStatus = []StatusRange{{200, 200}, {500, 503}} },
		},
		{
			name: "200 where it is not expected", path: "/ok", want: "GET URL/ok: 200 OK, expected 204, 300-399",
			options: func(o *HTTPOptions) { o.ExpectStatus = []StatusRange{{204, 204}, {300, 399}} },
		},
		{name: "a redirect is not followed", path: "/moved", word: "302 Found"},
		{
			name: "a redirect is followed if wanted", path: "/moved", want: "GET URL/moved: 500 Internal Server Error, expected 200-399",
			options: func(o *HTTPOptions) { o.FollowRedirects = true },
		},
		{
			name: "redirects without end", path: "/loop", want: "GET URL/loop: more than 5 redirects, the last to URL/loop",
			options: func(o *HTTPOptions) { o.FollowRedirects = true },
		},
		{name: "a body that matches", path: "/ok", word: "200 OK", options: func(o *HTTPOptions) { o.ExpectBody = "^all .* well$" }},
		{
			name: "a body that does not match", path: "/ok", want: `GET URL/ok: 200 OK, but the body does not match "bad"`,
			options: func(o *HTTPOptions) { o.ExpectBody = "bad" },
		},
		{name: "a huge body is read in part", path: "/huge", word: "200 OK"},
		{
			name: "a huge body is searched in part", path: "/huge",
			want:    `GET URL/huge: 200 OK, but the body does not match "the end" (only its first 64 KiB were searched)`,
			options: func(o *HTTPOptions) { o.ExpectBody = "the end" },
		},
		{
			name: "a server that hangs", path: "/hang", timeout: 300 * time.Millisecond,
			want: "GET URL/hang: timed out after 300ms waiting for the response header",
		},
		{
			name: "a body that hangs", path: "/slow", timeout: 300 * time.Millisecond,
			want: "GET URL/slow: timed out after 300ms reading the response body",
		},
		{name: "a body that is cut off", path: "/cut", want: "GET URL/cut: 200 OK, then reading the response body: unexpected EOF"},
		{
			name: "method, headers, host and body", path: "/echo", word: "200 OK",
			options: func(o *HTTPOptions) {
				o.Method, o.Body = "POST", "ping"
				o.Headers = map[string]string{"host": "www.example.org", "x-check": "yes", "User-Agent": "me"}
				o.ExpectBody = "^HTTP/1.1 POST host=www.example.org x=yes agent=me body=ping$"
			},
		},
		{name: "HEAD", path: "/ok", word: "200 OK", options: func(o *HTTPOptions) { o.Method = "HEAD" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := httpOptions(func(o *HTTPOptions) { o.URL = server.URL + tt.path })
			if tt.options != nil {
				tt.options(o)
			}
			f, got := examine(t, o, cmp.Or(tt.timeout, ample))
			if diff := gocmp.Diff(tt.want, strings.ReplaceAll(got, server.URL, "URL")); diff != "" {
				t.Errorf("reason (-want +got):\n%s", diff)
			}
			if tt.want == "" && f.Word != tt.word {
				t.Errorf("word %q, want %q", f.Word, tt.word)
			}
		})
	}
}

func TestHTTPWithNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	_, got := examine(t, httpOptions(func(o *HTTPOptions) { o.URL = "http://u:secret@" + address + "/" }), ample)
	want := "GET http://u:xxxxx@" + address + "/: connect to " + address + ": connection refused"
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("reason (-want +got):\n%s", diff)
	}
}

func TestHTTPUsesANewConnectionEachTimeAndNoProxy(t *testing.T) {
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	var opened, closed atomic.Int32
	server := httptest.NewUnstartedServer(serve(t))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			closed.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	c, err := httpOptions(func(o *HTTPOptions) { o.URL = server.URL + "/ok" }).New()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := c.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for deadline := time.Now().Add(ample); closed.Load() < 3 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if opened.Load() != 3 || closed.Load() != 3 {
		t.Errorf("%d connections opened, %d closed; want 3", opened.Load(), closed.Load())
	}
}

func TestHTTPOverAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: serve(t)}}
	server.Start()
	o := httpOptions(func(o *HTTPOptions) {
		o.URL, o.UnixSocket, o.ExpectBody = "http://backend/echo", path, "host=backend"
	})
	if _, got := examine(t, o, ample); got != "" {
		t.Error(got)
	}
	server.Close()
	want := "GET http://backend/echo: connect to " + path + ": no such file or directory"
	if _, got := examine(t, o, ample); got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
}

func TestHTTPVersions(t *testing.T) {
	clear := httptest.NewUnstartedServer(serve(t))
	clear.Config.Protocols = new(http.Protocols)
	clear.Config.Protocols.SetHTTP1(true)
	clear.Config.Protocols.SetUnencryptedHTTP2(true)
	clear.Start()
	defer clear.Close()
	both := httptest.NewUnstartedServer(serve(t))
	both.EnableHTTP2 = true
	both.StartTLS()
	defer both.Close()
	old := httptest.NewUnstartedServer(serve(t))
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.StartTLS()
	defer old.Close()
	tests := []struct{ name, url, version, proto, fails string }{
		{name: "cleartext is 1.1", url: clear.URL, proto: "HTTP/1.1"},
		{name: "cleartext 2 by prior knowledge", url: clear.URL, version: "2", proto: "HTTP/2.0"},
		{name: "TLS takes what is offered", url: both.URL, proto: "HTTP/2.0"},
		{name: "TLS with 1.1", url: both.URL, version: "1.1", proto: "HTTP/1.1"},
		{name: "TLS with 2", url: both.URL, version: "2", proto: "HTTP/2.0"},
		{name: "an old server", url: old.URL, proto: "HTTP/1.1"},
		{name: "an old server where 2 is wanted", url: old.URL, version: "2", fails: "no application protocol"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := httpOptions(func(o *HTTPOptions) {
				o.URL, o.HTTPVersion, o.ExpectBody = tt.url+"/echo", tt.version, "^"+tt.proto+" "
				o.TLSSkipVerify = strings.HasPrefix(tt.url, "https")
			})
			for range 2 { // a connection each
				_, got := examine(t, o, ample)
				if tt.fails == "" && got != "" || tt.fails != "" && !strings.Contains(got, tt.fails) {
					t.Errorf("reason %q, want %q", got, tt.fails)
				}
			}
		})
	}
}

func TestImpossibleHTTPOptionsAreNamed(t *testing.T) {
	tests := []struct {
		name   string
		change func(*HTTPOptions)
		want   []OptionError
	}{
		{name: "no host", change: func(o *HTTPOptions) { o.URL = "http:///x" },
			want: []OptionError{{"url", `"http:///x" is not an http or https URL with a host, such as "http://127.0.0.1/healthz"`}}},
		{name: "another scheme", change: func(o *HTTPOptions) { o.URL = "ftp://h/" },
			want: []OptionError{{"url", `"ftp://h/" is not an http or https URL with a host, such as "http://127.0.0.1/healthz"`}}},
		{name: "TLS options without TLS", change: func(o *HTTPOptions) { o.ExpiryMin, o.TLSSkipVerify = time.Hour, true },
			want: []OptionError{{"tls_skip_verify", "has no effect without TLS; use an https url"}, {"expiry_min", "has no effect without TLS; use an https url"}}},
		{name: "many at once", change: func(o *HTTPOptions) {
			o.UnixSocket, o.Method, o.ExpectStatus, o.ExpectBody, o.HTTPVersion = "run/s", "G T", nil, "(", "3"
			o.Headers = map[string]string{"a b": "", "X": "a\nb", "Host": "a b", "x": ""}
		}, want: []OptionError{
			{"unix_socket", `"run/s" is not an absolute path`},
			{"method", `"G T" is not an HTTP method, such as "GET" or "HEAD"`},
			{"headers", `Host: "a b" is not a host`},
			{"headers", `the value of "X" has characters that a header cannot have`},
			{"headers", `"a b" is not a header name`},
			{"headers", `"X" and "x" are the same header`},
			{"expect_status", `is empty, so no answer would be healthy; leave it out for "200-399"`},
			{"expect_body", "\"(\" is not a regular expression (RE2): missing closing ): `(`"},
			{"http_version", `"3" is not "1.1" or "2"; leave it out for what the server offers`},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := httpOptions(func(o *HTTPOptions) { o.URL = "http://127.0.0.1/" })
			tt.change(o)
			if diff := gocmp.Diff(tt.want, o.Validate()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
