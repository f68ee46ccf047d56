instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["192.0.2.10", "2001:db8::10"]

  # All that follows is optional; the values shown are the defaults.
  version            = 3            # 2 for peers that speak only VRRPv2
  advertise_interval = "1s"         # v3: 10ms .. 40.95s; v2: whole seconds
  dead_adverts       = 3            # Master_Down_Interval = this many intervals + skew (the RFC's 3)
  preempt            = true         # false: a healthy master keeps the address when a better host comes back
  preempt_delay      = "0s"         # counted from when the instance became eligible
  link_delay         = "0s"         # after link-up and start: for switch ports that are deaf at first
  mac                = "interface"  # "virtual": 00:00:5e:00:01:VRID on a macvlan
  strict             = false        # refuse adverts that the RFC says to refuse and that peers send all the same (CONFORMANCE.md)
  checksum           = "auto"       # v3 over IPv4: "pseudo-header" | "rfc9568"; auto accepts both and sends pseudo-header
  lease              = true

  # Optional, with no default:
  unadvertised = ["198.51.100.7"]                   # set and announced with the instance, not in its adverts; either family
  checks       = ["nginx", "listener"]              # left out: every check applies

  expect "lb2" {                    # what another host has: lets validate prove that a failing check moves the address
    priority = 100                  # left out: this very file is evaluated with hostname = lb2. Its own node's block is skipped.
  }
  auth {                            # HMAC-SHA-256, keepalived 2.4.2's auth_hmac on the wire
    active = 1
    mode   = "enforce"              # "permissive", "receive-only": for rolling it out
    key "1" {
      file = "/etc/understudy/web.key"
    }
  }
  announce {
    refresh  = "60s"
    interval = "0s"
  }
}


check "http" "nginx" {
  url      = "http://127.0.0.1/healthz"
  interval = "1s"
  timeout  = "500ms"                # <= interval
  rise     = 2                      # successes in a row before healthy
  fall     = 2                      # failures in a row before unhealthy
  # pending_interval = "200ms"      # default: interval/5; process 10ms

  # What being unhealthy does. One of:
  on_failure = "yield"              # default: hand over to any healthier host; keep the address if there is none
  # on_failure = "release"          # leave the election: no address here, whatever the others do
  # weight     = -60                # subtract while unhealthy (positive: add while healthy)
}

check "tcp" "listener" {
  address = "127.0.0.1:443"
}

check "process" "nginx-master" {
  pid_file = "/run/nginx.pid"       # or name / cmdline; event driven, interval is only a safety net
}

check "script" "backends" {
  command = ["/usr/local/lib/nagios/check_x", "-w", "5"]
  user    = "nobody"
}

notify "nginx" "reload" {           # nginx -t, then reload, only if the test passes
  on = ["master"]
}

notify "script" "tell" {
  on        = ["master", "backup", "fault", "stop"]
  instances = ["web"]               # left out: all
  command   = ["/etc/understudy/notify.d/tell"]
  timeout   = "10s"
}


control {
  steer_group = "adm"               # beside root: may drain, undrain, reload
}

reload {
  watch = true                      # reload by itself when a configuration file changes
}

log {
  level  = "info"
  format = "text"                   # or "json"
}
