instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10", "2001:db8::10"]
  peers     = ["0.0.0.0", "224.0.0.18", "255.255.255.255", "127.0.0.1", "::", "ff02::12", "::1", "fe80::1%eth0", "::ffff:10.0.0.11"]
}
