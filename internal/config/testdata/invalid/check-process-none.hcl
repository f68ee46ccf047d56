check "process" "nginx" {
  interval = "5s"
}
