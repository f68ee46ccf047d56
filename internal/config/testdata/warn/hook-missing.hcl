notify "script" "tell" {
  on      = ["master"]
  command = ["/nonexistent/tell"]
}
