instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10"]

  expect "lb2" {}
}

instance "inside" {
  interface = "eth1"
  vrid      = 72
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.9.0.10"]
}

group "edge" {
  instances = hostname == "lb1" ? ["web", "inside"] : ["inside", "web"]
}
