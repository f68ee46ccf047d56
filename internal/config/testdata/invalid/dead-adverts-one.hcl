instance "web" {
  interface    = "eth0"
  vrid         = 71
  priority     = 150
  addresses    = ["192.0.2.10"]
  dead_adverts = 1
}
