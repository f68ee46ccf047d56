log = "info"
