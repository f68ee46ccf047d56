telemetry {
}
