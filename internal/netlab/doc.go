// Package netlab makes test hosts on one Linux machine: a network namespace for each host, a bridge in one more for the
// switch, and a veth pair between them. On such hosts run the real daemon, real nginx and real peers; the wires can be cut,
// made lossy and firewalled, a client measures what a user would see, and ownership of addresses is recorded on every host.
// The tests, the benchmark and `understudy demo` stand on it.
//
// It needs root and iproute2; [Host.Firewall] and [Host.Lose] need nftables, [Host.Nginx] needs nginx. All names carry the
// id of the process that made them, so that labs do not collide and [New] can remove what a dead process left.
package netlab
