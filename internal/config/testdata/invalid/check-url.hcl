check "http" "nginx" {
  url = "127.0.0.1"
}
