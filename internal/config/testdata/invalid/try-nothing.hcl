instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = try(env("NO_PRIORITY"), {}["a"])
  addresses = ["192.0.2.10"]
}
