instance "web" {
  interface = "a-very-long-name"
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
}
