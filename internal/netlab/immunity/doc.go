// Package immunity holds no code but its tests: a host that is not a peer floods a pair with what is no advert of a peer, one kind
// after another, over multicast and unicast, of both families and versions, and nothing moves, is delayed or silenced; the same at a few packets a
// second silences a keepalived. Its test binary is also the program that floods.
package immunity
