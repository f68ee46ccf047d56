instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { east = 150 }["north"]
  addresses = ["192.0.2.10"]
}
