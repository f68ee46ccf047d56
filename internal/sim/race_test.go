//go:build race

package sim

// The race detector makes the runs ten times slower, and the workers share nothing but a counter.
func init() { defaultRuns = 100 }
