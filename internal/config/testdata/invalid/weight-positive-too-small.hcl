instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10"]
  expect "lb2" {
  }
}

check "tcp" "nginx" {
  address = "127.0.0.1:80"
  weight = 20
}
