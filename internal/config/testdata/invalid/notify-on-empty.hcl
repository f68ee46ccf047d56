notify "script" "tell" {
  on      = []
  command = ["/bin/true"]
}
