// Package daemon connects the deciding packages to the kernel and the world: one loop goroutine owns the node, everything
// else sends it events or performs its actions. The loop never waits for any of them.
package daemon
