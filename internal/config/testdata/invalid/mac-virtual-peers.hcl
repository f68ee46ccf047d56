instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
  mac       = "virtual"
  peers     = ["10.0.0.11", "10.0.0.12"]
}
