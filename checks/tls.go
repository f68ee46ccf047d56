package checks

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// tlsSettings are the TLS options that kinds of checks have in common.
type tlsSettings struct {
	serverName string
	caFile     string
	skipVerify bool
	expiryMin  time.Duration
}

// validate names impossible combinations; used tells whether the check uses TLS at all, and how says what would make it.
func (s tlsSettings) validate(used bool, how string) []OptionError {
	var errs []OptionError
	if s.expiryMin < 0 {
		errs = append(errs, OptionError{"expiry_min", fmt.Sprintf("%s is negative", s.expiryMin)})
	}
	if s.skipVerify && s.caFile != "" {
		errs = append(errs, OptionError{"tls_ca_file", "has no effect with tls_skip_verify; leave one of them out"})
	}
	if used {
		return errs
	}
	for _, o := range []struct {
		name string
		set  bool
	}{
		{"tls_server_name", s.serverName != ""},
		{"tls_ca_file", s.caFile != ""},
		{"tls_skip_verify", s.skipVerify},
		{"expiry_min", s.expiryMin > 0},
	} {
		if o.set {
			errs = append(errs, OptionError{o.name, "has no effect without TLS; " + how})
		}
	}
	return errs
}

// preflight reads the files that config needs.
func (s tlsSettings) preflight() error {
	_, err := s.config()
	return err
}

// maxCA is how much of a file of authorities is read: a distribution's whole bundle is a quarter of a MiB.
const maxCA = 4 << 20

// readCA reads a file of authorities. A pipe or a device might never end.
func readCA(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxCA+1))
	if err == nil && len(text) > maxCA {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxCA)
	}
	return text, err
}

// reads returns a digest of the CA.
func (s tlsSettings) reads() map[string]string {
	if s.caFile == "" {
		return nil
	}
	pem, err := readCA(s.caFile)
	if err != nil {
		return map[string]string{s.caFile: ""}
	}
	sum := sha256.Sum256(pem)
	return map[string]string{s.caFile: hex.EncodeToString(sum[:])}
}

// config reads the CA and makes a client configuration.
func (s tlsSettings) config() (*tls.Config, error) {
	c := &tls.Config{ServerName: s.serverName, InsecureSkipVerify: s.skipVerify, MinVersion: tls.VersionTLS12}
	if s.caFile != "" {
		pem, err := readCA(s.caFile)
		if err != nil {
			return nil, fmt.Errorf("tls_ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls_ca_file: no PEM certificate in %s", s.caFile)
		}
	}
	if s.expiryMin > 0 {
		// Called at every handshake, also when nothing else of the certificate is verified.
		c.VerifyConnection = func(state tls.ConnectionState) error { return expiresLater(state, s.expiryMin, time.Now()) }
	}
	return c, nil
}

// expiresLater refuses a server certificate that is valid for less than atLeast from now.
func expiresLater(state tls.ConnectionState, atLeast time.Duration, now time.Time) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server sent no certificate")
	}
	leaf := state.PeerCertificates[0]
	left := leaf.NotAfter.Sub(now)
	switch {
	case left <= 0:
		return fmt.Errorf("the certificate expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	case left < atLeast:
		return fmt.Errorf("the certificate expires in %s, at %s; expiry_min is %s",
			left.Round(time.Second), leaf.NotAfter.UTC().Format(time.RFC3339), atLeast)
	}
	return nil
}
