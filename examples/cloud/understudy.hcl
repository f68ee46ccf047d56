# An address that a cloud routes to one of its servers: who becomes master has it moved to itself by the provider's API. See README.md.

instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["203.0.113.10"]
  peers     = ["10.0.0.11", "10.0.0.12"] # such networks carry no multicast

  # Whoever has it keeps it: a move takes as long as the API does, and nobody is served meanwhile.
  preempt = false

  expect "lb1" {}
  expect "lb2" {}
}

check "process" "nginx" {
  pid_file = "/run/nginx.pid"
}

check "http" "answers" {
  url = "http://127.0.0.1:8080/healthz" # ../pair/nginx-healthz.conf
}

notify "script" "assign-address" {
  on = ["master"]
  command = [
    "/etc/understudy/notify.d/assign-address",
    "https://api.cloud.example/v1",
    { lb1 = "server-1", lb2 = "server-2" }[hostname], # the provider's names of the hosts
    "/etc/understudy/cloud.token",
  ]
  timeout = "90s" # more than all of its attempts take
}
