instance "web" {
  interface = env("VIP_INTERFACE")
  vrid      = 71
  priority  = 150
  addresses = ["192.0.2.10"]
}
