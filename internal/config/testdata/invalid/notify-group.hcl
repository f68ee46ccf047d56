instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
}

instance "inside" {
  interface = "eth1"
  vrid      = 72
  priority  = 150
  addresses = ["10.9.0.10"]
}

group "edge" {
  instances = ["web", "inside"]
}

notify "script" "tell" {
  on      = ["master"]
  groups  = ["egde"]
  command = ["/bin/true"]
}
