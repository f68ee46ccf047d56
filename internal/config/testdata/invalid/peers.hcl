instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
  peers     = ["10.0.0.300", "10.0.0.11", "10.0.0.11", "2001:db8::1", "lb2.example", "LB2.example", "-lb3", "lb 4", "lb.5"]
}
