instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10", "2001:db8::10"]
}

instance "six" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["2001:db8::11"]
}
