instance {
}
