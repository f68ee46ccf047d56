# A pair that believes nobody without the key. Make it once, and copy it to both hosts:
#
#   (umask 077; printf 'hex:%s\n' "$(openssl rand -hex 32)" > /etc/understudy/web-1.key)
#
# To change it without a gap, on both hosts each time: add key "2", then make it active, then remove key "1". A pair that runs
# already without keys gets mode = "receive-only" everywhere first, then "permissive", then "enforce".

instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10", "2001:db8::10"]

  expect "lb1" {}
  expect "lb2" {}

  auth {
    active = 1
    key "1" {
      file = "/etc/understudy/web-1.key"
    }
  }
}

check "process" "nginx" {
  pid_file = "/run/nginx.pid"
}
