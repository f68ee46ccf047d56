notify "script" "tell" {
  command = ["/bin/true"]
}
