instance "web" {
  interface = "eth0"
  vrid      = 71
  addresses = ["192.0.2.10"]
  prioritty = 100
}
