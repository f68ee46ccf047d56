# Two hosts, lb1 and lb2, one address of each family, nginx on both. lb1 has the addresses while it is well: when it returns from
# an outage it takes them back, in milliseconds and without a lost connection; ../sticky leaves them where they are.
#
# The same on both hosts (the daemon reads a changed file by itself):
#
#   install -D -m 755 tell /etc/understudy/notify.d/tell
#   install -m 644 nginx-healthz.conf /etc/nginx/conf.d/ && nginx -t && nginx -s reload
#   install -m 644 understudy.hcl /etc/understudy/ && understudy validate --here
#
# Try it: kill nginx on lb1, or understudy drain, and look at understudy status on lb2.

instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10", "2001:db8::10"]

  # What the other host has: validate proves with it that a failing check moves the addresses.
  expect "lb1" {}
  expect "lb2" {}
}

# The kernel tells when nginx's master ends; nothing waits for a poll.
check "process" "nginx" {
  pid_file = "/run/nginx.pid"
}

# nginx answers: see nginx-healthz.conf beside this file.
check "http" "answers" {
  url = "http://127.0.0.1:8080/healthz"
}

# nginx -t, then reload, when this host becomes master: for configurations that name the virtual address.
notify "nginx" "reload" {
  on = ["master"]
}

# Any notify script that was written for keepalived.
notify "script" "tell" {
  on      = ["master", "backup", "fault", "stop"]
  command = ["/etc/understudy/notify.d/tell"]
}
