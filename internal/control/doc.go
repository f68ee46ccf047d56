// Package control is the daemon's control socket: HTTP and JSON on a unix socket, the server and the client. Paths start
// with /v1. Reading is for whoever may open the socket; steering is for root and the members of one group.
package control
