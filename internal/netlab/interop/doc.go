// Package interop holds no code but its tests: understudy beside the VRRP speakers of others, in both roles, over every way in
// which either can go and come back, and a running pair of keepalived or FRR that is replaced one host at a time. What a step may cost is
// written beside it; a client that opens a new connection every few milliseconds says what it did cost. `make test-interop` runs
// them.
package interop
