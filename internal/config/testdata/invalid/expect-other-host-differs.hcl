instance "web" {
  interface = "eth0"
  vrid      = { lb1 = 71, lb2 = 72 }[hostname]
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = [{ lb1 = "192.0.2.10", lb2 = "192.0.2.11" }[hostname]]
  version   = { lb1 = 3, lb2 = 2 }[hostname]
  expect "lb2" {
  }
}
