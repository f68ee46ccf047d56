notify "script" "tell" {
  on      = ["master"]
  command = ["/bin/true"]
}

notify "nginx" "tell" {
  on = ["master"]
}
