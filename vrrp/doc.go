// Package vrrp is the protocol: the advert codec for VRRPv2 (RFC 3768) and VRRPv3 (RFC 9568, RFC 5798) over IPv4 and
// IPv6, and the state machine of one virtual router. It is pure: it has no clock, no I/O, no randomness and no log. Time
// is an argument, reasons are results.
//
// RFC 9568 says Active where this package, like everyone who runs a VRRP pair, says master.
package vrrp
