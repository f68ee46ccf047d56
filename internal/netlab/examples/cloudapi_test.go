package examples

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

// cloudToken is what the API believes.
const cloudToken = "s3cret"

// cloudAPI is a provider's API that routes one address to one of its servers, as its users' packets go.
type cloudAPI struct {
	address string
	servers map[string]string // the server's own address by its name
	gateway *netlab.Host      // has the route
	ca      string            // who signed its certificate, as PEM

	mu      sync.Mutex // guards what follows
	owner   string
	calls   []string // method and status of each
	refuses int      // how many more calls are answered 503
}

// serveCloudAPI serves the API on a host at a name's port 443.
func serveCloudAPI(t *testing.T, a *cloudAPI, name, ip string) {
	t.Helper()
	certificate := a.certify(t, name)
	var listener net.Listener
	err := a.gateway.Do(func() error {
		var err error
		listener, err = net.Listen("tcp", ip+":443")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: a, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}, ReadHeaderTimeout: time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.ServeTLS(listener, "", "") })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
}

// certify makes a certificate that is its own authority.
func (a *cloudAPI) certify(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// ServeHTTP implements http.Handler.
func (a *cloudAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	status, err := a.answer(r)
	a.calls = append(a.calls, fmt.Sprint(r.Method, " ", status))
	w.WriteHeader(status)
	if err == nil {
		err = json.NewEncoder(w).Encode(map[string]string{"address": a.address, "server": a.owner})
	}
	if err != nil {
		fmt.Fprintln(w, err)
	}
}

func (a *cloudAPI) answer(r *http.Request) (int, error) {
	switch {
	case r.Header.Get("Authorization") != "Bearer "+cloudToken:
		return http.StatusUnauthorized, fmt.Errorf("no such token")
	case a.refuses > 0:
		a.refuses--
		return http.StatusServiceUnavailable, fmt.Errorf("try again")
	case r.URL.Path != "/v1/addresses/"+a.address:
		return http.StatusNotFound, fmt.Errorf("no such address")
	case r.Method == http.MethodGet:
		return http.StatusOK, nil
	}
	var want struct{ Server string }
	if err := json.NewDecoder(r.Body).Decode(&want); err != nil || a.servers[want.Server] == "" {
		return http.StatusBadRequest, fmt.Errorf("no server %q: %v", want.Server, err)
	}
	a.owner = want.Server
	_, err := a.gateway.Exec(r.Context(), "ip", "route", "replace", a.address, "via", a.servers[a.owner])
	return http.StatusOK, err
}

// has waits until a server has the address and knows it.
func (a *cloudAPI) has(t *testing.T, server string) {
	t.Helper()
	eventually(t, func() (bool, string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		sure := len(a.calls) > 0 && a.calls[len(a.calls)-1] == "GET 200"
		return a.owner == server && sure, fmt.Sprintf("%s has the address, not yet %s; the calls were %v", a.owner, server, a.calls)
	})
}

// isOwner says whether a server has the address now.
func (a *cloudAPI) isOwner(server string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.owner == server
}

// during returns what was called while something was done.
func (a *cloudAPI) during(do func()) string {
	a.mu.Lock()
	before := len(a.calls)
	a.mu.Unlock()
	do()
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(slices.Clone(a.calls[before:]), ", ")
}

// fails has the API answer the next calls with 503.
func (a *cloudAPI) fails(times int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuses = times
}
