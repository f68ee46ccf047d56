instance "web" {
  interface = { h10 = "eth0", h11 = "eth0", h12 = "eth0", h13 = "eth0", h14 = "eth0", h15 = "eth0", h16 = "eth0", h17 = "eth0", h18 = "eth0", h19 = "eth0", h20 = "eth0", h21 = "eth0", h22 = "eth0", h23 = "eth0", h24 = "eth0", h25 = "eth0", h26 = "eth0", h27 = "eth0", h28 = "eth0", h29 = "eth0" }[hostname]
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
}
