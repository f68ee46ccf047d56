notify "script" "te ll" {
  on      = ["master"]
  command = ["/bin/true"]
}
