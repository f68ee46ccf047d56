instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["2001:db8::10"]
  mac       = "virtual"
  source    = "2001:db8::1"
}
