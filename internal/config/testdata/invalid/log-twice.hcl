log {
}

log {
}
