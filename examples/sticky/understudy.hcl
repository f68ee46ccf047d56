# Two hosts of equal worth: whoever has the address keeps it, so that the return of the other one resets no connection.
# Health beats stickiness: a host whose nginx is ill hands over all the same.
#
# The same on both hosts:
#
#   install -m 644 ../pair/nginx-healthz.conf /etc/nginx/conf.d/ && nginx -t && nginx -s reload
#   install -m 644 understudy.hcl /etc/understudy/ && understudy validate --here
#
# Try it: understudy drain on the master, understudy undrain, and the address stays. To move it back: drain the other one.

instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 101, lb2 = 100 }[hostname] # decides only who is first when both start at once
  addresses = ["192.0.2.10"]
  preempt   = false

  expect "lb1" {}
  expect "lb2" {}
}

check "http" "answers" {
  url      = "http://127.0.0.1:8080/healthz"
  interval = "500ms"
}
