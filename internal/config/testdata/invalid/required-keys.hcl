instance "web" {
}
