// Package stories holds no code but its tests: what a user lives through with two or three hosts, each with a real nginx and
// the real daemon, told on the hosts of package netlab. Every story says what happened, who had the addresses by the kernel's
// own events, and what a client saw that opens a new connection every few milliseconds.
package stories
