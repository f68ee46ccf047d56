control {
  steer_group = ["adm"]
}
