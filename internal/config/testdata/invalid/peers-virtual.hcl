instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
  unadvertised = ["198.51.100.7"]
  peers        = ["10.0.0.11", "192.0.2.10", "198.51.100.7"]
}
