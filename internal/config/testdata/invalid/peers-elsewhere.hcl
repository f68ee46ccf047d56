instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10"]
  peers     = hostname == "lb1" ? ["10.0.0.11", "10.0.0.12"] : null
  expect "lb2" {}
}

instance "mail" {
  interface = "eth0"
  vrid      = 72
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.11"]
  peers     = ["10.0.0.11", "10.0.0.12"]
  source    = { lb1 = "10.0.0.11", lb2 = "10.0.0.22" }[hostname]
  expect "lb2" {}
}
