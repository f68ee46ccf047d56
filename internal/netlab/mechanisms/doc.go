// Package mechanisms holds no code but its tests: a story for each promise of what happens when a host hands over, dies, sleeps,
// falls silent, loses an address, is steered by hand or gets another configuration. As in package stories, every one says who
// had the addresses by the kernel's own events, and what a client saw that opens a new connection every few milliseconds.
package mechanisms
