# haproxy instead of nginx. The same on both hosts, and then systemctl restart haproxy:
#
#   install -m 644 haproxy.cfg /etc/haproxy/ && haproxy -c -f /etc/haproxy/haproxy.cfg
#   install -m 644 understudy.hcl /etc/understudy/ && understudy validate --here
#
# Try it: systemctl stop haproxy on the master.

instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10"]

  # Whoever has it keeps it: the hosts are equal, and long connections through haproxy are reset by every move.
  preempt = false

  expect "lb1" {}
  expect "lb2" {}
}

# The kernel tells when haproxy's master ends.
check "process" "haproxy" {
  pid_file = "/run/haproxy.pid"
}

# haproxy answers. Not whether its servers do: both hosts have the same ones, and a move would help nobody (see haproxy.cfg).
check "http" "answers" {
  url = "http://127.0.0.1:8081/healthz"
}
