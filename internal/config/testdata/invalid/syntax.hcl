instance "web" {
  interface = 
}
