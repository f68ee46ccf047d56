instance "web" {
  interface = "eth 0"
  vrid      = 300
  priority  = 1
  addresses = ["192.0.2.300", "224.0.0.1"]
}

log {
  level = "loud"
}
