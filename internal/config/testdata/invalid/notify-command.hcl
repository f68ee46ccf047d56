notify "script" "tell" {
  on      = ["master"]
  command = ["bin/tell"]
}
