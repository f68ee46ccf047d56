log {
  level = "inof"
}
