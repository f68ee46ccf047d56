package vrrp

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
)

// Secret is a key or a password. It does not show itself: what formats, marshals or dumps it gets a placeholder. The zero
// value is no secret, which signs nothing and verifies nothing.
type Secret struct {
	// Behind a pointer, and to a string: fmt asks no method of what lies in an unexported field, and prints what it finds, but
	// it does not follow such a pointer.
	text *string
}

// hidden is what a secret shows.
const hidden = "(hidden)"

// NewSecret keeps a copy of b.
func NewSecret(b []byte) Secret { return Secret{new(string(b))} }

// Empty says that there is no secret.
func (s Secret) Empty() bool { return len(s.reveal()) == 0 }

// Equal compares in constant time.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare(s.reveal(), other.reveal()) == 1
}

// fingerprint is a MAC of a text that no advert is.
func (s Secret) fingerprint() []byte {
	h := hmac.New(sha256.New, s.reveal())
	h.Write([]byte("fingerprint"))
	return h.Sum(nil)[:macLen]
}

func (s Secret) reveal() []byte {
	if s.text == nil {
		return nil
	}
	return []byte(*s.text)
}

// String returns a placeholder.
func (s Secret) String() string { return hidden }

// GoString returns a placeholder.
func (s Secret) GoString() string { return hidden }

// Format prints a placeholder for every verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// MarshalText returns a placeholder, for JSON and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// UnmarshalText reads the placeholder back as no secret.
func (s *Secret) UnmarshalText([]byte) error {
	*s = Secret{}
	return nil
}
