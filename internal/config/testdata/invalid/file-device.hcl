instance "web" {
  interface = file("/dev/zero")
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
}
