instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
  checks = ["ngnix"]
}

check "tcp" "nginx" {
  address = "127.0.0.1:80"
}
