package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// TCPOptions are the options of a tcp check.
type TCPOptions struct {
	Address       string        `hcl:"address" doc:"host:port, or unix:/path for a unix socket."`
	TLS           bool          `hcl:"tls,optional" default:"false" doc:"Make a TLS handshake."`
	TLSServerName string        `hcl:"tls_server_name,optional" doc:"Name to ask for (SNI) and to verify. Default: the address's host."`
	TLSCAFile     string        `hcl:"tls_ca_file,optional" doc:"PEM file of the authorities to trust. Default: the host's, as they were when the daemon began."`
	TLSSkipVerify bool          `hcl:"tls_skip_verify,optional" default:"false" doc:"Accept every certificate."`
	ExpiryMin     time.Duration `hcl:"expiry_min,optional" default:"0s" doc:"A certificate that expires sooner is a failure, also with tls_skip_verify."`
	Send          string        `hcl:"send,optional" doc:"Text to send once connected."`
	Expect        string        `hcl:"expect,optional" doc:"Regular expression (RE2) that must come within the first 64 KiB of the answer."`
}

var (
	_ Options  = (*TCPOptions)(nil)
	_ Reader   = (*TCPOptions)(nil)
	_ Examiner = (*tcpChecker)(nil)
)

func newTCPOptions() Options {
	o := new(TCPOptions)
	SetDefaults(o)
	return o
}

func (o *TCPOptions) tls() tlsSettings {
	return tlsSettings{serverName: o.TLSServerName, caFile: o.TLSCAFile, skipVerify: o.TLSSkipVerify, expiryMin: o.ExpiryMin}
}

// Validate names every impossible value.
func (o *TCPOptions) Validate() []OptionError {
	var errs []OptionError
	network, address, host, err := splitAddress(o.Address)
	if err != nil {
		errs = append(errs, OptionError{"address", err.Error()})
	}
	if err == nil && network == "unix" && !filepath.IsAbs(address) {
		errs = append(errs, OptionError{"address", fmt.Sprintf("%q: %q is not an absolute path", o.Address, address)})
	}
	errs = append(errs, validateRegexp("expect", o.Expect)...)
	if o.TLS && err == nil && host == "" && o.TLSServerName == "" && !o.TLSSkipVerify {
		errs = append(errs, OptionError{"tls_server_name", "is needed to verify the certificate of a server behind a unix socket"})
	}
	return append(errs, o.tls().validate(o.TLS, "set tls = true")...)
}

// splitAddress gives what net.Dial wants, and the host that a certificate is verified for.
func splitAddress(s string) (network, address, host string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return "unix", path, "", nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return "", "", "", fmt.Errorf("%q is not host:port or unix:/path, such as \"127.0.0.1:443\", \"[::1]:443\" or \"unix:/run/app.sock\"", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", "", fmt.Errorf("%q: port %q is not a number between 1 and 65535", s, port)
	}
	return "tcp", s, host, nil
}

// Reads implements Reader.
func (o *TCPOptions) Reads() map[string]string { return o.tls().reads() }

// Preflight tells whether this host has the CA file, and whether there is a certificate in it.
func (o *TCPOptions) Preflight() error { return o.tls().preflight() }

// New makes the Checker; it reads the CA.
func (o *TCPOptions) New() (Checker, error) {
	network, address, host, err := splitAddress(o.Address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	c := &tcpChecker{network: network, address: address, send: o.Send}
	if c.expect, err = compile("expect", o.Expect); err != nil {
		return nil, err
	}
	if !o.TLS {
		return c, nil
	}
	if c.tls, err = o.tls().config(); err != nil {
		return nil, err
	}
	if c.tls.ServerName == "" {
		c.tls.ServerName = host
	}
	return c, nil
}

type tcpChecker struct {
	network, address string
	tls              *tls.Config // nil: none
	send             string
	expect           *regexp.Regexp // nil: nothing is read
}

// hedge lets a second connection begin while the first waits.
func (c *tcpChecker) hedge() {}

// Check opens one connection.
func (c *tcpChecker) Check(ctx context.Context) error {
	_, err := c.Examine(ctx)
	return err
}

// Examine opens one connection and keeps what was answered.
func (c *tcpChecker) Examine(ctx context.Context) (Finding, error) {
	conn, err := new(net.Dialer).DialContext(ctx, c.network, c.address)
	if err != nil {
		return Finding{}, c.explain(ctx, err, phaseConnecting)
	}
	defer func() { _ = conn.Close() }()
	// The end of ctx ends every read and write, also those of the TLS handshake.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	if c.tls != nil {
		secure := tls.Client(conn, c.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return Finding{}, c.explain(ctx, err, phaseHandshake)
		}
		conn = secure
	}
	if c.send != "" {
		if _, err := io.WriteString(conn, c.send); err != nil {
			return Finding{}, c.explain(ctx, err, phaseSending)
		}
	}
	if c.expect == nil {
		return Finding{Word: "connected to " + c.address}, nil
	}
	return c.await(ctx, conn)
}

// await reads until what is expected has come.
func (c *tcpChecker) await(ctx context.Context, conn net.Conn) (Finding, error) {
	var answer []byte
	chunk := make([]byte, 4<<10)
	for len(answer) < maxRead {
		n, err := conn.Read(chunk[:min(len(chunk), maxRead-len(answer))])
		answer = append(answer, chunk[:n]...)
		if n > 0 && c.expect.Match(answer) {
			return Finding{Word: c.address + " answered as expected", Output: shown(answer)}, nil
		}
		if errors.Is(err, io.EOF) {
			return Finding{Output: shown(answer)}, fmt.Errorf("%s: closed the connection after %d bytes, none matched %q", c.address, len(answer), c.expect)
		}
		if err != nil {
			return Finding{Output: shown(answer)}, c.explain(ctx, err, phaseAnswer)
		}
	}
	return Finding{Output: shown(answer)}, fmt.Errorf("%s: no match for %q in the first %d KiB", c.address, c.expect, maxRead>>10)
}

func (c *tcpChecker) explain(ctx context.Context, err error, during string) error {
	if err = explain(ctx, err, during); during == phaseConnecting && ctx.Err() == nil {
		return err // it names the address
	}
	return fmt.Errorf("%s: %w", c.address, err)
}

// maxShown is how much of an answer is kept for people to look at.
const maxShown = 4 << 10

func shown(answer []byte) string {
	return strings.ToValidUTF8(string(answer[:min(len(answer), maxShown)]), "?")
}
