instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 256
  addresses = ["192.0.2.10"]
}
