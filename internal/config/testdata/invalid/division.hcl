instance "web" {
  interface = "eth0"
  vrid      = 1/0
  priority  = 150
  addresses = ["192.0.2.10"]
}
