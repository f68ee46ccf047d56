package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/understudy-ha/understudy/internal/node"
)

// FuzzRequest sends the server whatever somebody on the socket writes, as root, as a stranger, and as somebody whom the kernel did not
// name: each request is answered in JSON, no name is passed on that is none, and nobody but root changes anything.
func FuzzRequest(f *testing.F) {
	for _, text := range []string{
		"GET /v1/status HTTP/1.1\r\nHost: understudy\r\n\r\n", "POST /v1/drain?for=admin HTTP/1.1\r\nHost: u\r\n\r\n",
		"POST /v1/undrain?for=a&for=b HTTP/1.0\r\n\r\n", "POST /v1/reload HTTP/1.1\r\nHost: u\r\n\r\n", "POST /v1/reexec HTTP/1.1\r\nHost: u\r\n\r\n",
		"POST /v1/drain?for=%zz HTTP/1.1\r\nHost: u\r\n\r\n", "POST /v1/drain HTTP/1.1\r\nHost: u\r\nContent-Length: 3\r\n\r\nabc",
		"POST //v1/../v1/drain?for=a;b HTTP/1.1\r\nHost: u\r\n\r\n", "GET * HTTP/1.1\r\n\r\n", "CONNECT u:1 HTTP/1.1\r\n\r\n",
	} {
		for who := range uint8(3) {
			f.Add([]byte(text), who)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, who uint8) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
		if err != nil {
			return
		}
		root := who%3 == 0
		changes := func(what string) {
			if !root {
				t.Errorf("%q of a stranger: %s", text, what)
			}
		}
		named := func(what, name string) error {
			if changes(what); name == "" || len(name) > maxName {
				t.Errorf("%q: %s for %q", text, what, name)
			}
			return nil
		}
		s := newServer(nil, nil, "", &fakeDaemon{
			drain: func(_ context.Context, name string) (node.Drained, error) {
				return node.Drained{}, named("drain", name)
			},
			undrain: func(_ context.Context, name string) error { return named("undrain", name) },
			reload:  func(context.Context) (node.Reloaded, error) { changes("reload"); return node.Reloaded{}, nil },
			reexec:  func(context.Context) error { changes("reexec"); return nil },
		})
		switch {
		case root:
			r = r.WithContext(context.WithValue(r.Context(), peerKey{}, peer{}))
		case who%3 == 1:
			r = r.WithContext(context.WithValue(r.Context(), peerKey{}, peer{uid: 1 << 31, groups: []uint32{1 << 31}}))
		}
		answer := httptest.NewRecorder()
		s.handler().ServeHTTP(answer, r)
		if answer.Header().Get("Content-Type") == "application/json" && !json.Valid(answer.Body.Bytes()) {
			t.Errorf("%q is answered by %q", text, answer.Body)
		}
	})
}

// answering is a daemon's end that says the same to every request.
type answering struct {
	code int
	body []byte
}

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.code, Status: http.StatusText(a.code), Body: io.NopCloser(bytes.NewReader(a.body))}, nil
}

// FuzzAnswer gives the client what another program on the socket may say: it is an error, or a report with a status in it.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{"", "{}", "null", `{"node":null}`, `{"node":{}}`, `{"node":{"instances":[{"routers":[{}]}]},"checks":[null]}`, `{"error":"no"}`, `{"error":""}`, "[", `"node"`} {
		f.Add([]byte(text), true)
		f.Add([]byte(text), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, ok bool) {
		code := http.StatusUnprocessableEntity
		if ok {
			code = http.StatusOK
		}
		c := &Client{path: "control.sock", http: &http.Client{Transport: answering{code, body}}}
		r, err := c.Report(t.Context())
		if err == nil && (!ok || r.Node == nil) {
			t.Errorf("%d %q is taken for %+v", code, body, r)
		}
		if _, err := c.Drain(t.Context(), "admin"); err == nil && !ok {
			t.Errorf("%q drains", body)
		}
	})
}
