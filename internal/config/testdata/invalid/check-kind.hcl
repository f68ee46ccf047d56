check "htpp" "nginx" {
  url = "http://127.0.0.1/"
}
