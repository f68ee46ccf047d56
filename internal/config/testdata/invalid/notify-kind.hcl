notify "nginxx" "reload" {
  on = ["master"]
}
