// Package linux is the only package of understudy that touches the kernel: the sockets of VRRP, the virtual addresses,
// ARP and neighbour discovery, the events of links and addresses, the timer and the process's capabilities.
//
// It decides nothing: it says what it saw and does what it is told. Each type belongs to the goroutine that calls its
// Run or Set; the exceptions are named where they are. Sockets belong to the network namespace of the thread that
// opens them.
package linux
