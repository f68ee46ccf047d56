// Package sim runs a cluster of nodes on a virtual clock: each host is a node.Node with a small model of its kernel, and a
// network that delays, loses, repeats and reorders what it carries. Everything that is random comes from one seed, so that
// a run repeats exactly.
package sim
