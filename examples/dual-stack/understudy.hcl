# IPv4 and IPv6 with one fate. Adverts go out over both families (two virtual routers under one VRID), and all addresses move together
# or not at all: users whose system tries IPv6 first never wait for a family that is somewhere else.
#
# The same on both hosts, whose eth0 needs a link-local IPv6 address, as every interface has where IPv6 is on:
#
#   install -m 644 understudy.hcl /etc/understudy/ && understudy validate --here
#
# nginx listens on both families with: listen 80; listen [::]:80;
# Try it: drop IPv6 adverts (meta nfproto ipv6 meta l4proto 112) on the backup. Nothing moves, and its status says who is still
# heard over IPv4.

instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10", "2001:db8::10"]

  # Set, announced and moved with the others, but not in the adverts: as many as you like, of either family.
  unadvertised = ["2001:db8::443"]

  # Whoever has them keeps them: with equal hosts a move back has no use, and it resets the connections of both families.
  preempt = false

  expect "lb1" {}
  expect "lb2" {}
}

check "process" "nginx" {
  pid_file = "/run/nginx.pid"
}

# Each family by itself: an nginx that listens on one of them only is ill.
check "tcp" "ipv4" {
  address = "127.0.0.1:80"
}

check "tcp" "ipv6" {
  address = "[::1]:80"
}
