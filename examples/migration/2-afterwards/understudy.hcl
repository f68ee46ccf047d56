# What the pair has when no keepalived is left: VRRPv3, whose handovers take milliseconds, an answer of nginx as the check, and no
# password that the whole link can read. To sign the adverts see ../../auth.

instance "VI_1" {
  interface = "eth0"
  vrid      = 51
  priority  = { lb1 = 100, lb2 = 90 }[hostname]
  addresses = ["192.0.2.10"]

  # Whoever has the address keeps it: these hosts are equal, and a move back resets connections for nothing. keepalived's nopreempt
  # would also have kept it on a host with a dead nginx; here health comes first.
  preempt = false

  expect "lb1" {}
  expect "lb2" {}
}

check "process" "nginx" {
  pid_file = "/run/nginx.pid"
}

check "http" "answers" {
  url = "http://127.0.0.1:8080/healthz" # ../../pair/nginx-healthz.conf
}
