# Speaks what the keepalived pair speaks: VRRPv2 with its virtual_router_id, priorities and password, so that the two can stand beside
# each other. The same file on both hosts, first for the shadow, then for the daemon.

instance "VI_1" {
  interface = "eth0"
  vrid      = 51
  version   = 2 # keepalived's default
  priority  = { lb1 = 100, lb2 = 90 }[hostname]
  addresses = ["192.0.2.10"]

  auth {
    password = "1111"
  }

  # No preempt = false yet: a keepalived that is asked to give way by its priority is one that must be preempted.

  expect "lb1" {}
  expect "lb2" {}
}

# In place of chk_nginx.sh. Starting nginx again is systemd's work (Restart=on-failure): it is faster, and leaves an nginx alone that
# an administrator has stopped.
check "process" "nginx" {
  pid_file = "/run/nginx.pid"
}
