# Two hosts of equal worth: whoever has the address keeps it, so that the return of the other one resets no connection.
# Health beats stickiness: a host whose nginx is ill hands over all the same.

instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 101, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10"]
  preempt   = false

  expect "lb1" {}
  expect "lb2" {}
}

check "http" "answers" {
  url      = "http://127.0.0.1:8080/healthz"
  interval = "500ms"
}
