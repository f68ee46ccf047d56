# Three hosts by unicast, for networks that carry no multicast. The same file on all hosts: each skips its own address.
# The other hosts' adverts are accepted from these addresses alone. A firewall must let IP protocol 112 pass between them.

instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 120, lb3 = 100 }[hostname]
  addresses = ["192.0.2.10"]
  peers     = ["10.0.0.11", "10.0.0.12", "10.0.0.13"]

  # Where the adverts come from. It may be left out: of the interface's addresses the one that is among the peers is taken.
  source = { lb1 = "10.0.0.11", lb2 = "10.0.0.12", lb3 = "10.0.0.13" }[hostname]

  expect "lb1" {}
  expect "lb2" {}
  expect "lb3" {}
}

check "http" "answers" {
  url      = "http://127.0.0.1:8080/healthz"
  interval = "500ms"
}
