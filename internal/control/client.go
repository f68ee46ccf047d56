package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/understudy-ha/understudy/internal/node"
)

// ErrNotRunning says that no daemon answers on the socket.
var ErrNotRunning = errors.New("understudy is not running")

// SilentError says that a daemon has the socket, and did not answer in time.
type SilentError struct {
	PID int // 0: it is not known, as from another container
}

func (e *SilentError) Error() string {
	if e.PID == 0 {
		return "the daemon does not answer: it is stopped, or starved"
	}
	return fmt.Sprintf("the daemon (pid %d) does not answer: it is stopped, or starved; look at it with: ps -o pid,stat,wchan:24,args -p %d", e.PID, e.PID)
}

// maxAnswer bounds what a client reads: the report of thousands of instances is some megabytes.
const maxAnswer = 64 << 20

// Client talks to a daemon.
type Client struct {
	path string
	http *http.Client
	pid  atomic.Int64 // of who listened there last
}

// Dial makes a client of the daemon with that runtime directory; it connects at the first request.
func Dial(runtimeDir string) *Client {
	c := &Client{path: filepath.Join(runtimeDir, socketName)}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", c.path)
		if err == nil {
			c.pid.Store(int64(peerOf(conn).pid))
		}
		return conn, err
	}
	c.http = &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	return c
}

// Report asks for the status.
func (c *Client) Report(ctx context.Context) (r node.Report, err error) {
	err = c.do(ctx, http.MethodGet, "/v1/status", nil, &r)
	if err == nil && r.Node == nil {
		err = errors.New("read the daemon's answer: there is no status in it: is it another version, or another program?")
	}
	return r, err
}

// Drain drains, and waits for the end.
func (c *Client) Drain(ctx context.Context, name string) (d node.Drained, err error) {
	err = c.do(ctx, http.MethodPost, "/v1/drain", url.Values{"for": {name}}, &d)
	return d, err
}

// Undrain lifts one name's drain.
func (c *Client) Undrain(ctx context.Context, name string) (u node.Undrained, err error) {
	err = c.do(ctx, http.MethodPost, "/v1/undrain", url.Values{"for": {name}}, &u)
	return u, err
}

// Reload has the configuration read again.
func (c *Client) Reload(ctx context.Context) (r node.Reloaded, err error) {
	err = c.do(ctx, http.MethodPost, "/v1/reload", nil, &r)
	return r, err
}

// Reexec has the daemon's program exchanged, and returns the report of the one that goes on. An error says why the old one does.
func (c *Client) Reexec(ctx context.Context) (node.Report, error) {
	before, err := c.Report(ctx)
	if err != nil {
		return before, err
	}
	err = c.once(ctx, http.MethodPost, "/v1/reexec", nil, nil)
	if !cut(err) {
		return before, err
	}
	after, err := c.Report(ctx) // the connection waits in the socket, which the new program inherits
	switch {
	case err != nil:
		return after, fmt.Errorf("the daemon broke off: %w", err)
	case after.PID != before.PID || after.Reexec == nil || before.Reexec != nil && !after.Reexec.At.After(before.Reexec.At):
		return after, errors.New("the daemon broke off, and another one has been started since")
	}
	return after, nil
}

// cut says whether the daemon ended in the middle of a request, or became another program.
func cut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// do makes one request. One that is cut off is made once more, as every request may be: the daemon may have become another
// program.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, answer any) error {
	err := c.once(ctx, method, path, query, answer)
	if cut(err) {
		err = c.once(ctx, method, path, query, answer)
	}
	return err
}

// once makes one request.
func (c *Client) once(ctx context.Context, method, path string, query url.Values, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://understudy"+path+"?"+query.Encode(), nil)
	if err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w (nobody answers on %s): start it, or name its --runtime-dir", ErrNotRunning, c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("ask the daemon: %s: permission denied: be root, or a member of the socket's group", c.path)
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &SilentError{int(c.pid.Load())}
	case err != nil:
		return fmt.Errorf("ask the daemon: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode != http.StatusOK {
		var f failure
		if err := body.Decode(&f); err != nil || f.Error == "" {
			return fmt.Errorf("the daemon answers %s", resp.Status)
		}
		return errors.New(f.Error)
	}
	if answer == nil {
		return nil
	}
	if err := body.Decode(answer); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}
