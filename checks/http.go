package checks

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strings"
)

// maxRedirects is how many redirects one check follows.
const maxRedirects = 5

var _ Examiner = (*httpChecker)(nil)

type httpChecker struct {
	method, url string
	shown       string // the URL without a password
	host        string // "": the URL's
	header      http.Header
	body        string
	socket      string // "": TCP
	ranges      []StatusRange
	expect      *regexp.Regexp // nil: any body
	tls         *tls.Config
	follow      bool
	version     string
}

// hedge lets a second request begin while the first waits for its answer.
func (c *httpChecker) hedge() {}

// Check sends one request over a new connection.
func (c *httpChecker) Check(ctx context.Context) error {
	_, err := c.Examine(ctx)
	return err
}

// Examine sends one request over a new connection and says which status came.
func (c *httpChecker) Examine(ctx context.Context) (Finding, error) {
	f, err := c.exchange(ctx)
	if err != nil {
		err = fmt.Errorf("%s %s: %w", c.method, c.shown, err)
	}
	return f, err
}

func (c *httpChecker) exchange(ctx context.Context) (Finding, error) {
	var at phase
	req, err := c.request(ctx, &at)
	if err != nil {
		return Finding{}, err
	}
	transport := c.transport(ctx)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: c.redirect}
	resp, err := client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // it repeats the method and the URL
		}
		return Finding{}, explain(ctx, err, at.String())
	}
	defer func() { _ = resp.Body.Close() }()
	at.set(phaseBody)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRead))
	if err != nil {
		return Finding{Output: resp.Status}, explain(ctx, fmt.Errorf("%s, then reading the response body: %w", resp.Status, err), at.String())
	}
	return Finding{Word: resp.Status, Output: resp.Proto + " " + resp.Status}, c.judge(resp, body)
}

// judge decides about a complete answer.
func (c *httpChecker) judge(resp *http.Response, body []byte) error {
	switch {
	case c.version == "2" && resp.ProtoMajor != 2:
		return fmt.Errorf("answered by %s, expected HTTP/2", resp.Proto)
	case !statusExpected(c.ranges, resp.StatusCode):
		return fmt.Errorf("%s, expected %s", resp.Status, statusNames(c.ranges))
	case c.expect != nil && !c.expect.Match(body):
		note := ""
		if len(body) == maxRead {
			note = fmt.Sprintf(" (only its first %d KiB were searched)", maxRead>>10)
		}
		return fmt.Errorf("%s, but the body does not match %q%s", resp.Status, c.expect, note)
	}
	return nil
}

func (c *httpChecker) request(ctx context.Context, at *phase) (*http.Request, error) {
	trace := &httptrace.ClientTrace{
		ConnectStart:      func(string, string) { at.set(phaseConnecting) },
		TLSHandshakeStart: func() { at.set(phaseHandshake) },
		GotConn:           func(httptrace.GotConnInfo) { at.set(phaseSending) },
		WroteRequest:      func(httptrace.WroteRequestInfo) { at.set(phaseHeader) },
	}
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), c.method, c.url, body)
	if err != nil {
		return nil, err
	}
	req.Header = c.header.Clone()
	req.Host = cmp.Or(c.host, req.Host)
	return req, nil
}

// transport is made for each run, so that each opens a connection of its own; a kept one would say nothing about
// whether new ones are accepted. No proxy: what is checked is this host.
func (c *httpChecker) transport(ctx context.Context) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(c.version != "2")
	protocols.SetHTTP2(c.version != "1.1")
	protocols.SetUnencryptedHTTP2(c.version == "2")
	return &http.Transport{
		// net/http lets a dial outlive its request, in the hope of a next one: hence the check's own context.
		DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
			if c.socket != "" {
				network, address = "unix", c.socket
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		TLSClientConfig:   c.tls.Clone(),
		DisableKeepAlives: true,
		// An answer is judged as the server sends it.
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxRead,
		Protocols:              &protocols,
	}
}

func (c *httpChecker) redirect(req *http.Request, via []*http.Request) error {
	if !c.follow {
		return http.ErrUseLastResponse
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects, the last to %s", maxRedirects, req.URL.Redacted())
	}
	return nil
}
