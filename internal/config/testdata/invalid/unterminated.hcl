instance "web" {
  interface = "eth0"
