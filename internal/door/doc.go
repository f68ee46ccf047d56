// Package door is the way from a daemon that is not root to a helper that is. The daemon names a check or a hook of the
// configuration, and for a hook the transition that it is to be told; the helper, a process of its own for each request, reads
// the configuration itself and decides what that name runs and as whom. A daemon that somebody else has taken over can so run
// at any time what root has written down to be run anyway, and nothing else.
//
// An instance that a reload removes lets go after that, when the files name neither it nor, perhaps, its hooks. So the daemon says when
// it goes by what the files say now, and the helper keeps for root alone what they said each time: for keptFor after the next such
// word the stop hooks of whom the files name no longer are run as root had written them. A daemon that somebody else has taken over
// can put that word off, and run these hooks later; it cannot make them others.
//
// The helper is started by a service manager that listens on a unix socket and hands over each connection. One request goes in,
// one answer comes out. What the request started ends when the connection does, or its daemon's half of it.
package door
