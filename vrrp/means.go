package vrrp

import "crypto/hmac"

// Means is by what an advert proves its sender, whether or not it is right: VRRPv2's password, the number of a key that signs,
// or, the zero value, nothing.
type Means struct {
	Password bool
	Key      uint8
}

// Means says by what Sign proves an advert.
func (a *Auth) Means() Means {
	switch {
	case a == nil || a.Mode == ReceiveOnly:
		return Means{}
	case !a.Password.Empty():
		return Means{Password: true}
	default:
		return Means{Key: a.Active}
	}
}

// Means says by what an advert proves its sender. A trailer of an unknown kind has key 0.
func (r Received) Means() Means {
	if r.Sealed == nil {
		return Means{Password: r.AuthType == authPassword}
	}
	t, _ := parseTrailer(r.Sealed[len(r.Sealed)-TrailerLen:])
	return Means{Key: t.key}
}

// Knows says whether the password of an advert is this one, or the key that signed it the one that has its number here. It asks
// nothing about the time, and remembers nothing: Verify decides what is believed.
func (a *Auth) Knows(r Received) bool {
	means := r.Means()
	switch {
	case a == nil || r.Sealed == nil && !means.Password:
		return false
	case means.Password:
		return !a.Password.Empty() && a.Password.Equal(r.Password)
	}
	key, ok := a.key(means.Key)
	if !ok {
		return false
	}
	message := r.Sealed[:len(r.Sealed)-TrailerLen]
	t, ok := parseTrailer(r.Sealed[len(message):])
	want := t.sum(key, message, r.From)
	return ok && r.AuthType == 0 && hmac.Equal(want[:], t.mac[:])
}
