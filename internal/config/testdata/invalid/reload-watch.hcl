reload {
  watch = "often"
}
