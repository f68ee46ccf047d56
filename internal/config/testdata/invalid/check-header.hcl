check "http" "nginx" {
  url     = "http://127.0.0.1/"
  headers = { "X-Key" = ["a"] }
}
