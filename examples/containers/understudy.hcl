# The configuration on the host, /etc/understudy/understudy.hcl, for understudy in a container with the host's network.

instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10"]

  # Whoever has it keeps it: the hosts are equal, and a move back resets connections for nothing.
  preempt = false

  expect "lb1" {}
  expect "lb2" {}
}

# http and tcp, which work from any container on the host's network. A process check would need the host's processes (hostPID), and
# a script a shell in the image.
check "http" "answers" {
  url      = "http://127.0.0.1:8080/healthz" # ../pair/nginx-healthz.conf
  interval = "500ms"
}

check "tcp" "site" {
  address = "127.0.0.1:80"
}
