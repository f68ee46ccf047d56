//go:build !race

package examples

// raceEnabled says that the tests run with the race detector; then the daemon does, too.
const raceEnabled = false
