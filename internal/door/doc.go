// Package door is the way from a daemon that is not root to a helper that is. The daemon names a check or a hook of the
// configuration, and for a hook the transition that it is to be told; the helper, a process of its own for each request, reads
// the configuration itself and decides what that name runs and as whom. A daemon that somebody else has taken over can so run
// at any time what root has written down to be run anyway, and nothing else.
//
// The helper is started by a service manager that listens on a unix socket and hands over each connection. One request goes in,
// one answer comes out. What the request started ends when the connection does, or its daemon's half of it.
package door
