package daemon

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/node"
)

// authority makes a certificate that signs itself, for the name nginx, and its PEM form.
func authority(t *testing.T) (*tls.Certificate, string) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"nginx"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// secured serves TLS with whatever certificate is stored.
func secured(t *testing.T) (url string, certificate *atomic.Pointer[tls.Certificate]) {
	t.Helper()
	certificate = new(atomic.Pointer[tls.Certificate])
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate.Load(), nil }}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL, certificate
}

// TestAnExchangedCAIsRead: a check that trusts an authority goes on over its exchange, with the verdict that it has.
func TestAnExchangedCAIsRead(t *testing.T) {
	old, oldPEM := authority(t)
	young, youngPEM := authority(t)
	url, certificate := secured(t)
	certificate.Store(old)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ssl", "web.pem")
	write(t, ca, oldPEM)
	path := filepath.Join(dir, "etc", "understudy.hcl")
	write(t, path, text(150, fmt.Sprintf("check \"http\" \"page\" {\n  url = %q\n  tls_server_name = \"nginx\"\n  tls_ca_file = %q\n  interval = \"200ms\"\n  timeout = \"200ms\"\n  fall = 5\n}\n", url, ca)))
	r := newReloading(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.monitors.runAll(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	passed := func(since time.Time) bool {
		last, ok := r.monitors.results.Load("page")
		return ok && last.(checks.Result).Passed && last.(checks.Result).Began.After(since)
	}
	eventually(t, "the check passes", func() bool { return passed(time.Time{}) })

	write(t, ca+"~", oldPEM+youngPEM)
	rename(t, ca+"~", ca)
	before := r.cfg.Load()
	eventually(t, "the file is read again", func() bool { return r.cfg.Load() != before })
	if got := r.cfg.Load().Checks[0].Reads; got[ca] == before.Checks[0].Reads[ca] {
		t.Errorf("the configuration has the CA as %v", got)
	}
	certificate.Store(young)
	exchanged := time.Now()
	eventually(t, "the check passes with the young certificate", func() bool { return passed(exchanged) })
	verdicts := 0
	for len(r.events) > 0 {
		if ev, ok := (<-r.events).(node.CheckChanged); ok {
			verdicts++
			if !ev.Healthy {
				t.Errorf("unhealthy: %+v", ev)
			}
		}
	}
	if verdicts != 1 {
		t.Errorf("%d verdicts, want that of the beginning alone", verdicts)
	}
}
