check "tcp" "nginx" {
  address = "127.0.0.1:80"
  weight = 0
}
