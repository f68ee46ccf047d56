notify "script" "tell" {
  on      = ["master", "mastr"]
  command = ["/bin/true"]
}
