# Two hosts by unicast, for networks that carry no multicast. The same file on both: each skips its own address. Adverts are
# accepted from these addresses alone. A firewall must let IP protocol 112 pass between them. Without 60-no-redirects.conf three
# forged ICMP packets lead the adverts away from a peer.
#
#   install -m 644 60-no-redirects.conf /etc/sysctl.d/ && sysctl -q -p /etc/sysctl.d/60-no-redirects.conf
#   install -m 644 ../pair/nginx-healthz.conf /etc/nginx/conf.d/ && nginx -t && nginx -s reload
#   install -m 644 understudy.hcl /etc/understudy/ && understudy validate --here
#
# Try it: stop the daemon on the master. More hosts: more addresses in peers, on all of them.

instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10"]
  peers     = ["10.0.0.11", "10.0.0.12"]

  # Where the adverts come from. It may be left out: of the interface's addresses the one that is among the peers is taken.
  source = { lb1 = "10.0.0.11", lb2 = "10.0.0.12" }[hostname]

  # Whoever has the address keeps it: the hosts are equal, and a move back resets connections for nothing.
  preempt = false

  expect "lb1" {}
  expect "lb2" {}
}

check "http" "answers" {
  url      = "http://127.0.0.1:8080/healthz"
  interval = "500ms"
}
