instance "web" {
  interface = file("../invalid")
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
}
