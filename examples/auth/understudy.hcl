# A pair that believes nobody without the key. README.md tells how to make one, how to roll it out on a pair that runs without, and
# how to change it.

instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10", "2001:db8::10"]

  # Whoever has them keeps them: with equal hosts a move back has no use, and it resets connections.
  preempt = false

  expect "lb1" {}
  expect "lb2" {}

  auth {
    active = 1
    key "1" {
      file = "/etc/understudy/web-1.key"
    }
  }
}

check "process" "nginx" {
  pid_file = "/run/nginx.pid"
}
