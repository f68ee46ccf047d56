instance "web" "two" {
}
