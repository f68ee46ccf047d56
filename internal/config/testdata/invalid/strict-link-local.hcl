instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  strict    = true
  addresses = ["192.0.2.9", "2001:db8::9", "fe80::9"]
}
