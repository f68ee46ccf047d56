package vrrp

import (
	"maps"
	"slices"
	"time"
)

// A key that a reload brings verifies from then on. What it signed until then was refused unheard, and somebody may have caught it, as
// before a start. But that is so of this key alone: what the others sign was heard all the time, so of a sender who goes on signing with
// one of them the reload changes nothing, whatever its clock shows. So each key has an instant of its own, and what a sender signs with it
// is early until its clock has passed that. A sender's clock is its clock, whichever key it signs with: once it was believed after that
// instant, by any key, whatever it signs now with the new one was signed after that too. So a rotation in which each host gets the new key
// before one signs with it makes nobody early who was not.

// newKeys are the keys that verify what was refused before, since they were not there or were others.
func (a *Auth) newKeys(was *Auth) (ids []uint8) {
	for _, k := range a.Keys {
		if before, known := was.key(k.ID); !k.Secret.Empty() && !(known && before.Equal(k.Secret)) {
			ids = append(ids, k.ID)
		}
	}
	return ids
}

// JudgesAs says whether by a configuration the same adverts are refused as by the one before it.
func (a *Authenticator) JudgesAs(was, is *Config) bool {
	was = a.know(was, is.Auth)
	return is.Version == was.Version && is.Interval == was.Interval && is.Strict == was.Strict && slices.Equal(is.Addresses, was.Addresses) &&
		is.Unicast.judgesAs(was.Unicast) && is.Auth.judgesAs(was.Auth)
}

func (u *Unicast) judgesAs(was *Unicast) bool {
	if u == nil || was == nil {
		return u == was
	}
	return u.MinTTL == was.MinTTL && slices.Equal(u.Peers, was.Peers)
}

func (a *Auth) judgesAs(was *Auth) bool {
	if a == nil || was == nil {
		return a == was
	}
	return a.Mode == was.Mode && a.Window == was.Window && a.Password.Equal(was.Password) && len(a.newKeys(was)) == 0 && len(was.newKeys(a)) == 0
}

// learn takes note of new keys.
func (a *Authenticator) learn(now time.Time, ids []uint8) {
	for _, id := range ids {
		if a.young == nil {
			a.young = map[uint8]time.Time{}
		}
		a.young[id] = now.Round(0)
	}
}

// admitted is what a sender with a mark must pass to be believed by a key; 0: nothing.
func (a *Authenticator) admitted(key uint8, mark Mark) Sequence {
	at, young := a.young[key]
	switch {
	case !young || mark.Heard.After(at):
		return 0
	case mark.Heard.IsZero():
		return start(at)
	}
	return passed(at, mark)
}

// outgrow forgets when keys came of which nothing is left that could be played: it is older than the window by any clock within it.
func (a *Authenticator) outgrow(now time.Time, window time.Duration) {
	maps.DeleteFunc(a.young, func(_ uint8, at time.Time) bool { return now.Sub(at) > 2*window })
}

// Fingerprint tells whether two processes mean the same key by a number. It is a MAC of the key, as each advert has one.
type Fingerprint struct {
	Key uint8
	MAC []byte
}

// Fingerprints are those of the keys that verify. One that came a moment ago is not among them: to the process that goes on it is new.
func (a *Authenticator) Fingerprints(now time.Time, cfg *Auth) []Fingerprint {
	if cfg == nil || a.inherited != nil {
		return a.inherited
	}
	a.outgrow(now, cfg.Window)
	var prints []Fingerprint
	for _, k := range cfg.Keys {
		if _, young := a.young[k.ID]; !young && !k.Secret.Empty() {
			prints = append(prints, Fingerprint{k.ID, k.Secret.fingerprint()})
		}
	}
	return prints
}
