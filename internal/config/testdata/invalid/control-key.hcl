control {
  steer_grp = "adm"
}
