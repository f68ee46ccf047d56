instance "web" {
  interface = ["eth0"][hostname]
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
}
