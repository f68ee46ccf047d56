package checks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// certificate makes a self-signed one for www.example.org, and its PEM file.
func certificate(t *testing.T, left time.Duration) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"www.example.org"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(left),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, path
}

func TestTLSOfHTTPAndTCP(t *testing.T) {
	tests := []struct {
		name string
		left time.Duration
		set  tlsSettings // caFile "yes" is the server's own
		want string
	}{
		{name: "a trusted CA and the right name", left: 48 * time.Hour, set: tlsSettings{serverName: "www.example.org", caFile: "yes"}},
		{name: "the wrong name", left: 48 * time.Hour, set: tlsSettings{serverName: "other.example.org", caFile: "yes"}, want: "not other.example.org"},
		{name: "no name is the host's", left: 48 * time.Hour, set: tlsSettings{caFile: "yes"}, want: "127.0.0.1"},
		{name: "an unknown CA", left: 48 * time.Hour, set: tlsSettings{serverName: "www.example.org"}, want: "unknown authority"},
		{name: "an unknown CA skipped", left: 48 * time.Hour, set: tlsSettings{skipVerify: true}},
		{name: "an expired one", left: -time.Hour, set: tlsSettings{serverName: "www.example.org", caFile: "yes"}, want: "expired"},
		{name: "an expired one skipped", left: -time.Hour, set: tlsSettings{skipVerify: true}},
		{name: "expiry soon", left: 47 * time.Hour, set: tlsSettings{serverName: "www.example.org", caFile: "yes", expiryMin: 72 * time.Hour}, want: "the certificate expires in 4"},
		{name: "expiry soon, also when skipped", left: 47 * time.Hour, set: tlsSettings{skipVerify: true, expiryMin: 72 * time.Hour}, want: "; expiry_min is 72h0m0s"},
		{name: "expired, also when skipped", left: -time.Hour, set: tlsSettings{skipVerify: true, expiryMin: time.Hour}, want: "the certificate expired at "},
		{name: "expiry late enough", left: 48 * time.Hour, set: tlsSettings{skipVerify: true, expiryMin: 24 * time.Hour}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cert, ca := certificate(t, tt.left)
			server := httptest.NewUnstartedServer(serve(t))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			server.StartTLS()
			defer server.Close()
			s := tt.set
			if s.caFile != "" {
				s.caFile = ca
			}
			web := httpOptions(func(o *HTTPOptions) {
				o.URL, o.TLSServerName, o.TLSCAFile, o.TLSSkipVerify, o.ExpiryMin = server.URL+"/ok", s.serverName, s.caFile, s.skipVerify, s.expiryMin
			})
			tcp := &TCPOptions{Address: server.Listener.Addr().String(), TLS: true,
				TLSServerName: s.serverName, TLSCAFile: s.caFile, TLSSkipVerify: s.skipVerify, ExpiryMin: s.expiryMin}
			for _, o := range []Options{web, tcp} {
				_, got := examine(t, o, ample)
				if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
					t.Errorf("%T: reason %q, want %q", o, got, tt.want)
				}
			}
		})
	}
}

// A file that is another by now is another check; what is no file, or too much of one, is not waited for.
func TestACAIsReadAgain(t *testing.T) {
	_, ca := certificate(t, time.Hour)
	_, other := certificate(t, time.Hour)
	o := &TCPOptions{Address: "127.0.0.1:1", TLS: true, TLSCAFile: ca}
	before := o.Reads()
	if again := o.Reads(); before[ca] == "" || !maps.Equal(before, again) {
		t.Errorf("the same file: %v, then %v", before, again)
	}
	if err := os.Rename(other, ca); err != nil {
		t.Fatal(err)
	}
	if after := o.Reads(); len(after) != 1 || after[ca] == "" || maps.Equal(before, after) {
		t.Errorf("another file: %v, then %v", before, after)
	}
	if err := os.Truncate(ca, maxCA+1); err != nil {
		t.Fatal(err)
	}
	if err := o.Preflight(); err == nil || err.Error() != "tls_ca_file: "+ca+" is larger than 4194304 bytes" {
		t.Errorf("too large: %v", err)
	}
	o.TLSCAFile = filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(o.TLSCAFile, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.Preflight(); err == nil || err.Error() != "tls_ca_file: "+o.TLSCAFile+" is not a regular file" {
		t.Errorf("a pipe: %v", err)
	}
	if got := o.Reads(); len(got) != 1 || got[o.TLSCAFile] != "" {
		t.Errorf("a pipe: %v", got)
	}
}

func TestACAThatCannotBeReadIsAnError(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/nonexistent/ca.pem": "tls_ca_file: open /nonexistent/ca.pem: no such file or directory",
		empty:                 "tls_ca_file: no PEM certificate in " + empty,
	} {
		for _, o := range []Options{
			httpOptions(func(o *HTTPOptions) { o.URL, o.TLSCAFile = "https://h/", path }),
			&TCPOptions{Address: "127.0.0.1:1", TLS: true, TLSCAFile: path},
		} {
			if _, err := o.New(); err == nil || err.Error() != want {
				t.Errorf("%T: %v, want %s", o, err, want)
			}
		}
	}
}
