telemetry {
  listen = "9510"
}
