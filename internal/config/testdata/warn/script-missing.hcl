check "script" "backends" {
  command = ["/nonexistent/check"]
}
