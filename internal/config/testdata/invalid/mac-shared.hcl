instance "web" {
  interface    = "eth0"
  vrid         = 71
  priority     = 150
  addresses    = ["192.0.2.10"]
  unadvertised = ["198.51.100.7", "2001:db8::7"]
  mac          = "virtual"
}

instance "six" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["2001:db8::10"]
  mac       = "virtual"
}
