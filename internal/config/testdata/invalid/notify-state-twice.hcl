notify "script" "tell" {
  on      = ["master", "master"]
  command = ["/bin/true"]
}
