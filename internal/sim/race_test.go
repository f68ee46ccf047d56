//go:build race

package sim

// The race detector makes the runs ten times slower, and there is one goroutine.
func init() { defaultRuns = 100 }
