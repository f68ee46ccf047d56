check "tcp" "ngi nx" {
  address = "127.0.0.1:80"
}
