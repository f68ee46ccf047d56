package checks

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// HTTPOptions are the options of an http check.
type HTTPOptions struct {
	URL             string            `hcl:"url" doc:"What to request, http or https."`
	UnixSocket      string            `hcl:"unix_socket,optional" doc:"Connect to this socket; the url then only names host and path."`
	Method          string            `hcl:"method,optional" default:"GET" doc:"Request method."`
	Headers         map[string]string `hcl:"headers,optional" doc:"Request headers. Host chooses the virtual server."`
	Body            string            `hcl:"body,optional" doc:"Request body."`
	ExpectStatus    []StatusRange     `hcl:"expect_status,optional" default:"200-399" doc:"Statuses that are healthy, such as [\"200\", \"301-308\"]."`
	ExpectBody      string            `hcl:"expect_body,optional" doc:"Regular expression (RE2) that the first 64 KiB of the body must match."`
	FollowRedirects bool              `hcl:"follow_redirects,optional" default:"false" doc:"Follow up to 5 redirects and judge the last answer."`
	HTTPVersion     string            `hcl:"http_version,optional" doc:"\"1.1\" or \"2\"; an http url with \"2\" means h2c. Default: what the server offers over TLS, else 1.1."`
	TLSServerName   string            `hcl:"tls_server_name,optional" doc:"Name to ask for (SNI) and to verify. Default: the url's host."`
	TLSCAFile       string            `hcl:"tls_ca_file,optional" doc:"PEM file of the authorities to trust. Default: the host's, as they were when the daemon began."`
	TLSSkipVerify   bool              `hcl:"tls_skip_verify,optional" default:"false" doc:"Accept every certificate."`
	ExpiryMin       time.Duration     `hcl:"expiry_min,optional" default:"0s" doc:"A certificate that expires sooner is a failure, also with tls_skip_verify."`
}

var (
	_ Options = (*HTTPOptions)(nil)
	_ Reader  = (*HTTPOptions)(nil)
)

func newHTTPOptions() Options {
	o := new(HTTPOptions)
	SetDefaults(o)
	return o
}

func (o *HTTPOptions) tls() tlsSettings {
	return tlsSettings{serverName: o.TLSServerName, caFile: o.TLSCAFile, skipVerify: o.TLSSkipVerify, expiryMin: o.ExpiryMin}
}

// Validate names every impossible value.
func (o *HTTPOptions) Validate() []OptionError {
	secure, errs := o.validateURL()
	if o.UnixSocket != "" && !filepath.IsAbs(o.UnixSocket) {
		errs = append(errs, OptionError{"unix_socket", fmt.Sprintf("%q is not an absolute path", o.UnixSocket)})
	}
	// A method is a token, as a header's name is.
	if !httpguts.ValidHeaderFieldName(o.Method) {
		errs = append(errs, OptionError{"method", fmt.Sprintf("%q is not an HTTP method, such as \"GET\" or \"HEAD\"", o.Method)})
	}
	errs = append(errs, validateHeaders(o.Headers)...)
	errs = append(errs, validateRanges(o.ExpectStatus)...)
	errs = append(errs, validateRegexp("expect_body", o.ExpectBody)...)
	if o.ExpectBody != "" && o.Method == http.MethodHead {
		errs = append(errs, OptionError{"expect_body", "the answer to a HEAD request has no body; use GET"})
	}
	if !slices.Contains([]string{"", "1.1", "2"}, o.HTTPVersion) {
		errs = append(errs, OptionError{"http_version", fmt.Sprintf("%q is not \"1.1\" or \"2\"; leave it out for what the server offers", o.HTTPVersion)})
	}
	// A redirect may lead from http to https.
	return append(errs, o.tls().validate(secure || o.FollowRedirects, "use an https url")...)
}

func (o *HTTPOptions) validateURL() (secure bool, errs []OptionError) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return true, []OptionError{{"url", fmt.Sprintf("%q is not a URL, such as \"http://127.0.0.1/healthz\"", o.URL)}}
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return true, []OptionError{{"url",
			fmt.Sprintf("%q is not an http or https URL with a host, such as \"http://127.0.0.1/healthz\"", u.Redacted())}}
	}
	return u.Scheme == "https", nil
}

func validateHeaders(headers map[string]string) []OptionError {
	var errs []OptionError
	seen := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		canonical := http.CanonicalHeaderKey(name)
		switch other, twice := seen[canonical]; {
		case !httpguts.ValidHeaderFieldName(name):
			errs = append(errs, OptionError{"headers", fmt.Sprintf("%q is not a header name", name)})
		case twice:
			errs = append(errs, OptionError{"headers", fmt.Sprintf("%q and %q are the same header", other, name)})
		case !httpguts.ValidHeaderFieldValue(headers[name]):
			// The value may be a secret.
			errs = append(errs, OptionError{"headers", fmt.Sprintf("the value of %q has characters that a header cannot have", name)})
		case canonical == "Host" && !httpguts.ValidHostHeader(headers[name]):
			errs = append(errs, OptionError{"headers", fmt.Sprintf("Host: %q is not a host", headers[name])})
		}
		seen[canonical] = name
	}
	return errs
}

func validateRanges(ranges []StatusRange) []OptionError {
	if len(ranges) == 0 {
		return []OptionError{{"expect_status", "is empty, so no answer would be healthy; leave it out for \"200-399\""}}
	}
	var errs []OptionError
	for _, r := range ranges {
		if err := new(StatusRange).UnmarshalText([]byte(r.String())); err != nil {
			errs = append(errs, OptionError{"expect_status", err.Error()})
		}
	}
	return errs
}

func validateRegexp(option, text string) []OptionError {
	if _, err := regexp.Compile(text); err != nil {
		return []OptionError{{option, fmt.Sprintf("%q is not a regular expression (RE2): %s", text, strings.TrimPrefix(err.Error(), "error parsing regexp: "))}}
	}
	return nil
}

// compile is for texts that validateRegexp accepted; "" is nil.
func compile(option, text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	return re, nil
}

// Reads implements Reader.
func (o *HTTPOptions) Reads() map[string]string { return o.tls().reads() }

// Preflight tells whether this host has the CA file, and whether there is a certificate in it.
func (o *HTTPOptions) Preflight() error { return o.tls().preflight() }

// New makes the Checker; it reads the CA.
func (o *HTTPOptions) New() (Checker, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	config, err := o.tls().config()
	if err != nil {
		return nil, err
	}
	expect, err := compile("expect_body", o.ExpectBody)
	if err != nil {
		return nil, err
	}
	c := &httpChecker{
		method: o.Method, url: o.URL, shown: u.Redacted(), body: o.Body, socket: o.UnixSocket,
		header: http.Header{"User-Agent": {"understudy"}},
		ranges: o.ExpectStatus, expect: expect, tls: config, follow: o.FollowRedirects, version: o.HTTPVersion,
	}
	for name, value := range o.Headers {
		c.header.Set(name, value)
	}
	c.host = c.header.Get("Host")
	c.header.Del("Host") // net/http takes it from the request's Host alone
	return c, nil
}
