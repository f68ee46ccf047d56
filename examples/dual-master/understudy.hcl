# Two hosts that both serve: each has an address of its own, the name has both (www.zone beside this file), and who is well has the
# other's address too while that one is ill. DNS needs no change then: both addresses always answer.
#
# The same on both hosts:
#
#   install -m 644 ../pair/nginx-healthz.conf /etc/nginx/conf.d/ && nginx -t && nginx -s reload
#   install -m 644 understudy.hcl /etc/understudy/ && understudy validate --here
#
# Try it: understudy drain on lb2, and both addresses are on lb1; understudy undrain, and one goes back.
# One host alone must be able to carry the load of both.

instance "first" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10"]
  checks    = ["nginx", "answers"]

  # Not preempt = false, which is wiser elsewhere: both addresses would stay on one host once it had them.

  expect "lb1" {}
  expect "lb2" {}
}

instance "second" {
  interface = "eth0"
  vrid      = 72
  priority  = { lb1 = 100, lb2 = 150 }[hostname]
  addresses = ["192.0.2.20"]
  checks    = ["nginx", "answers"]

  expect "lb1" {}
  expect "lb2" {}
}

# They are about this host, and so about both instances.
check "process" "nginx" {
  pid_file = "/run/nginx.pid"
}

check "http" "answers" {
  url = "http://127.0.0.1:8080/healthz"
}
