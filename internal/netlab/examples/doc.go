// Package examples holds no code but its tests: every example of the folder examples/ on whole small machines, whose files lie where
// the example says, with real nginx, haproxy and keepalived. A test changes nothing of an example; it builds the network that the
// example is written for, and does with it what its text tells to do.
package examples
