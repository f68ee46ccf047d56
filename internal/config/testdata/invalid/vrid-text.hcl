instance "web" {
  interface = "eth0"
  vrid      = "seventy"
  priority  = 150
  addresses = ["192.0.2.10"]
}
