check "tcp" "nginx" {
}
