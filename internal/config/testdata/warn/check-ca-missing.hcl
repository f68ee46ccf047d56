check "http" "site" {
  url         = "https://127.0.0.1/healthz"
  tls_ca_file = "/nonexistent/ca.pem"
}
