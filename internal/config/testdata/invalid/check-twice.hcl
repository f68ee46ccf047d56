check "http" "nginx" {
  url = "http://127.0.0.1/"
}

check "tcp" "nginx" {
  address = "127.0.0.1:80"
}
