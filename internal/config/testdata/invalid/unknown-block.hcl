instanse "web" {
}
