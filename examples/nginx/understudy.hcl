# The pair of README.md beside this file.

instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10", "2001:db8::10"]

  # Whoever has them keeps them: with equal hosts a move back has no use, and it resets connections.
  preempt = false

  expect "lb1" {}
  expect "lb2" {}
}

check "process" "nginx" {
  pid_file = "/run/nginx.pid"
}

check "http" "answers" {
  url = "http://127.0.0.1:8080/healthz"
}
