instance "web" {
  interface          = "eth0"
  vrid               = 71
  priority           = { lb1 = 150, lb2 = 100 }[hostname]
  addresses          = ["192.0.2.10"]
  advertise_interval = { lb1 = "1s", lb2 = "500ms" }[hostname]
  unadvertised       = [{ lb1 = "198.51.100.7", lb2 = "198.51.100.8" }[hostname]]
  expect "lb2" {
  }
}
