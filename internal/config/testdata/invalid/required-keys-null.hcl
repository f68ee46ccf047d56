instance "web" {
  interface = "eth0"
  vrid      = null
  priority  = 150
  addresses = ["192.0.2.10"]
}
