# Two routers or proxies with an outside and an inside network: both addresses are always on the same host. Whatever takes one of
# them away (a cable, a failing check, a stop) moves both.
#
# The same on both hosts:
#
#   install -D -m 755 ../pair/tell /etc/understudy/notify.d/tell
#   install -m 644 understudy.hcl /etc/understudy/ && understudy validate --here
#
# Try it: pull the inner cable of the master.

instance "outside" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10"]

  # Set and announced with the instance, but not in its adverts; of either family.
  unadvertised = ["2001:db8::10"]

  # A move back has no use where the hosts are equal, and it costs the connections of two networks.
  preempt = false

  expect "lb1" {}
  expect "lb2" {}
}

instance "inside" {
  interface = "eth1"
  vrid      = 72
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.1"]
  preempt   = false # the same in all instances of a group

  expect "lb1" {}
  expect "lb2" {}
}

group "edge" {
  instances = ["outside", "inside"] # the same on all hosts, in the same order
}

# What makes one instance unhealthy makes the group so. Without checks = [...] in an instance all checks are everyone's.
check "process" "nginx" {
  pid_file = "/run/nginx.pid"
}

# Once for the group (GROUP edge MASTER 0), not once for each instance.
notify "script" "tell" {
  on      = ["master", "backup", "fault", "stop"]
  groups  = ["edge"]
  command = ["/etc/understudy/notify.d/tell"]
}
