instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { east = 150, west = 100 }[hostname]
  addresses = ["192.0.2.10"]
}
