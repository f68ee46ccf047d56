instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
  expect "lb2" {
    priority = 100
  }
}

check "tcp" "nginx" {
  address = "127.0.0.1:80"
  weight = -50
}
