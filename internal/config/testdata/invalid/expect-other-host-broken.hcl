instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 300 }[hostname]
  addresses = ["192.0.2.10"]
  expect "lb2" {
  }
}
