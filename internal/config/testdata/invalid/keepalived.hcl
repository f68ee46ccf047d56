! Configuration File for keepalived
global_defs {
   router_id LVS_DEVEL
}

vrrp_script chk_nginx {
  script "killall -0 nginx"
  interval 2
}

vrrp_instance VI_1 {
  state MASTER
  interface eth0
  virtual_router_id 51
  virtual_ipaddress {
    192.0.2.10/24
  }
}
