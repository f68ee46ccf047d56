# Three hosts: whoever has the address keeps it while it is well, and then the best of those that are well takes over, so that one may
# be away for maintenance while another one fails. There is no quorum to lose: the last one that is well serves.
#
# The same on all hosts:
#
#   install -m 644 ../pair/nginx-healthz.conf /etc/nginx/conf.d/ && nginx -t && nginx -s reload
#   install -m 644 understudy.hcl /etc/understudy/ && understudy validate --here
#
# Try it: stop the daemon on lb1, kill nginx on lb2, and lb3 serves.

instance "web" {
  interface = "eth0"
  vrid      = 71
  addresses = ["192.0.2.10"]

  # Far apart, since priorities far apart mean timers far apart: when the master dies only the next one rises.
  priority = { lb1 = 200, lb2 = 150, lb3 = 100 }[hostname]

  # A move back has no use where the hosts are equal, and it resets connections. To move it all the same: understudy drain on the one
  # that has it, then understudy undrain.
  preempt = false

  expect "lb1" {}
  expect "lb2" {}
  expect "lb3" {}
}

check "process" "nginx" {
  pid_file = "/run/nginx.pid"
}

check "http" "answers" {
  url      = "http://127.0.0.1:8080/healthz"
  interval = "500ms"
}
