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

  expect "lb2" {}
}

group "edge" {
  instances = ["web", "inside"]
}

notify "script" "tell" {
  on      = ["master", "backup", "fault", "stop"]
  groups  = ["edge"]
  command = ["/bin/true"]
}
