instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
  version = 2
  auth {
    active   = 1
    password = "SECRET"
  }
}
