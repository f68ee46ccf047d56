instance "web" {
  interface = null[hostname]
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
}
