instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = []
}
