package vrrp

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// AuthMode says what is signed and what must be; see Auth.
type AuthMode uint8

// The modes, for rolling authentication out: first every host receive-only, then permissive, then enforce. A trailer that
// is there and wrong is refused in each.
const (
	Enforce     AuthMode = iota // signs, and refuses what is not signed
	Permissive                  // signs, and accepts what is not signed
	ReceiveOnly                 // does not sign, and accepts what is not signed
)

// authModes are the modes' names in the configuration.
var authModes = [...]string{"enforce", "permissive", "receive-only"}

// String returns the mode's name in the configuration.
func (m AuthMode) String() string { return authModes[m] }

// ParseAuthMode reads a mode's name.
func ParseAuthMode(name string) (AuthMode, bool) {
	i := slices.Index(authModes[:], name)
	return AuthMode(max(i, 0)), i >= 0
}

// Limits of authentication.
const (
	MinKeyLen = 32
	MaxKeyLen = 64
	// MaxPasswordLen is what VRRPv2 has room for.
	MaxPasswordLen = authDataLen
	minWindow      = 5 * time.Second
	maxWindow      = 300 * time.Second
)

// Auth is how a virtual router proves its adverts and what it demands of others': HMAC-SHA-256 with keys, or VRRPv2's
// password, which anyone on the link can read.
type Auth struct {
	Mode AuthMode
	// Active is the number of the key that signs; all verify.
	Active uint8
	Keys   []Key
	// Window is how far the clocks of two hosts may be apart; what is older or newer is refused.
	Window time.Duration
	// Password is VRRPv2's (NewPassword); then there are no keys.
	Password Secret
	// PasswordFile is where the password was read, if it was in a file.
	PasswordFile string
}

// Key is one of several, so that they can be changed without a gap.
type Key struct {
	ID     uint8 // 1..255, as it is on the wire
	Secret Secret
	// File is where the secret was read, for whoever must read it again.
	File string
}

// DefaultWindow is keepalived's: three intervals in whole seconds, at least 5 s and at most 300 s.
func DefaultWindow(interval time.Duration) time.Duration {
	return min(max(3*interval.Truncate(time.Second), minWindow), maxWindow)
}

// NewPassword pads a password as VRRPv2 carries it.
func NewPassword(text string) (Secret, error) {
	switch {
	case len(text) == 0:
		return Secret{}, fmt.Errorf("it has 0 bytes; VRRPv2 carries 1 to %d", MaxPasswordLen)
	case len(text) > MaxPasswordLen:
		return Secret{}, fmt.Errorf("it has %d bytes; VRRPv2 carries 1 to %d, and keepalived sends the first %d of a longer one: write these", len(text), MaxPasswordLen, MaxPasswordLen)
	}
	return NewSecret(append([]byte(text), make([]byte, MaxPasswordLen-len(text))...)), nil
}

// Silent says that nothing can be sent: it would have to be proved, and there is nothing to prove it with.
func (a *Auth) Silent() bool {
	_, ok := a.key(a.Active)
	return a.Mode != ReceiveOnly && !ok && a.Password.Empty()
}

// key returns a key's secret; one that could not be read is as good as none.
func (a *Auth) key(id uint8) (Secret, bool) {
	i := slices.IndexFunc(a.Keys, func(k Key) bool { return k.ID == id && !k.Secret.Empty() })
	if i < 0 {
		return Secret{}, false
	}
	return a.Keys[i].Secret, true
}

// Authenticator signs and verifies for one virtual router. It remembers what was sent and heard, whatever the configuration
// becomes. The zero value believes a sender's first advert, if it is within the window.
type Authenticator struct {
	sent    Sequence
	senders map[netip.Addr]record
	floor   Sequence            // what a sender without a record must come after to be believed
	young   map[uint8]time.Time // since when a key verifies that a reload has brought; see learn
	// inherited are the keys of a process before this one, until the configuration brings them.
	inherited []Fingerprint

	began time.Time // when it began to listen, or saw that this host's clock had been set; zero: it does not look
	shown Sequence  // what that clock showed then, whatever an instant of then is called by now
}

// ErrNoKey says that an advert cannot be signed; it must not leave without.
var ErrNoKey = errors.New("the active key is not known, and nothing is sent without a signature")

// Sign proves an advert: it puts the password into it, or returns the trailer that goes behind it, the same for every
// destination. Without anything to prove it returns nil.
func (a *Authenticator) Sign(cfg *Auth, now time.Time, advert *Advert, source netip.Addr) ([]byte, error) {
	a.look(now)
	switch {
	case cfg == nil || cfg.Mode == ReceiveOnly:
		return nil, nil
	case !cfg.Password.Empty():
		advert.AuthType, advert.Password = authPassword, cfg.Password
		return nil, nil
	}
	key, ok := cfg.key(cfg.Active)
	if !ok {
		return nil, ErrNoKey
	}
	message, err := advert.appendMessage(nil, source)
	if err != nil {
		return nil, err
	}
	t := trailer{key: cfg.Active, sequence: a.next(cfg, now)}
	a.sign(cfg, Mark{Sender: plain(source), Sequence: t.sequence, Heard: now.Round(0), Key: t.key})
	t.mac = t.sum(key, message, source)
	return t.append(nil), nil
}

// moment is by how far a signed time may come before the clock where several adverts are signed at once, as in a handover: in ticks of 2^-16 s,
// 16 ms. So none of them looks as if the clock stood; see Sequence.stood.
const moment = 1 << 10

// next is the clock's sequence, or the one after the last where the clock has not gone on. A clock that was set back by two windows
// or less may have been within the window of the others' all the time, ahead of them and then behind them: they remember what was sent
// before, and do not believe what comes before that. One that was set back further is followed: the others never believed it, or begin anew.
func (a *Authenticator) next(cfg *Auth, now time.Time) Sequence {
	clock := SequenceAt(now)
	switch tick := a.sent>>16 + 1; {
	case clock.After(a.sent) || !a.sent.within(2*cfg.Window, now):
		return clock
	case !a.sent.stood() && !(tick << 16).After(clock+moment<<16):
		return tick << 16
	}
	return a.sent + 1
}

// Proof is what Verify found out about an advert that it accepted.
type Proof struct {
	Signed bool
	// Early says that by its sender's clock it may have been sent before this host listened, or heard before its clock was set back; see Early.
	Early bool
	Mark  Mark
}

// Verify says whether an advert is who it says it is from, and new. An error is one of this package's refusals.
func (a *Authenticator) Verify(cfg *Auth, now time.Time, r Received) (Proof, error) {
	if !cfg.Password.Empty() {
		return Proof{}, cfg.verifyPassword(r)
	}
	if r.Sealed == nil {
		switch {
		case cfg.Mode == Enforce:
			return Proof{}, ErrAuthMissing
		case r.AuthType != 0:
			return Proof{}, ErrAuthType // RFC 3768 section 5.3.6
		}
		return Proof{}, nil
	}
	message := r.Sealed[:len(r.Sealed)-TrailerLen]
	t, ok := parseTrailer(r.Sealed[len(message):])
	if !ok || r.AuthType != 0 {
		return Proof{}, ErrAuthMalformed
	}
	a.look(now)
	if !t.sequence.within(cfg.Window, now) && !a.stands(cfg, now, plain(r.From), t.sequence) {
		return Proof{}, stale(t.sequence.behind(now), cfg.Window)
	}
	key, ok := cfg.key(t.key)
	if !ok {
		return Proof{}, ErrAuthKey.Because("%v: it is signed with key %d; give this host that key before another one makes it active", ErrAuthKey, t.key)
	}
	if want := t.sum(key, message, r.From); !hmac.Equal(want[:], t.mac[:]) {
		return Proof{}, ErrAuthMAC.Because("%v: it is forged, or key %d is another one there; compare the key files (keepalived signs otherwise before 2.4.2)", ErrAuthMAC, t.key)
	}
	mark := Mark{Sender: plain(r.From), Sequence: t.sequence, Heard: now.Round(0), Key: t.key}
	early, err := a.weigh(cfg, now, mark)
	if err != nil {
		return Proof{}, err
	}
	if !early {
		mark = a.senders[mark.Sender].mark // with how late it was
	}
	return Proof{Signed: true, Early: early, Mark: mark}, nil
}

// stale refuses what lies outside the window. What is too old may be the clock's fault or somebody's; nobody catches what is not
// sent yet.
func stale(behind, window time.Duration) error {
	remedy := "its clock is ahead of this host's: set both by NTP"
	if behind > 0 {
		remedy = "its clock is behind this host's (set both by NTP), or somebody caught it and plays it again"
	}
	return fmt.Errorf("%w: by its clock it was sent %s, and %s is allowed; %s", ErrAuthStale, ago(behind), window, remedy)
}

// ago tells how long ago something was, by another host's clock.
func ago(d time.Duration) string {
	if d < 0 {
		return (-d).Round(time.Millisecond).String() + " in the future"
	}
	return d.Round(time.Millisecond).String() + " ago"
}

// verifyPassword compares VRRPv2's password.
func (a *Auth) verifyPassword(r Received) error {
	switch {
	case r.Sealed != nil:
		return ErrTrailer
	case r.AuthType != authPassword:
		return ErrPasswordMissing
	case !r.Password.Equal(a.Password):
		return ErrPasswordWrong
	}
	return nil
}
