check "script" "backends" {
  command = []
}
