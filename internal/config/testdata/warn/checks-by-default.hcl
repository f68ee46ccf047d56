instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
}

instance "inside" {
  interface = "eth1"
  vrid      = 71
  priority  = 150
  addresses = ["10.0.0.10"]
}

check "tcp" "nginx" {
  address = "127.0.0.1:80"
}
