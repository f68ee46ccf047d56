package node

import (
	"net/netip"
	"time"
)

// LetGo is when an instance let go of its addresses last, and to whom.
type LetGo struct {
	At time.Time `json:"at"`
	// To is who was known to take over: the address that it advertises from, or where its adverts are not heard the MAC address that
	// answers for the instance's addresses. Empty: nobody was.
	To string `json:"to,omitempty"`
}

// successor is who is known to take over from the instance: whom its fate lingers for, or the master that is heard where no advert of
// this host leaves it.
func (i *instance) successor() string {
	switch {
	case i.fate.linger != nil:
		return i.fate.named(i.fate.linger.by)
	case i.mute.master.IsValid():
		return i.mute.master.String()
	}
	return ""
}

// relief is who is known to have taken over, as its hooks are told: whom the instance lets go for, or just did. It is known by one of both.
func (i *instance) relief(now time.Time) (ip netip.Addr, mac string) {
	to := i.successor()
	if i.letGo.At.Equal(now) {
		to = i.letGo.To
	}
	if ip, err := netip.ParseAddr(to); err == nil {
		return ip, ""
	}
	return netip.Addr{}, to
}

// named is what there is to call who took over by: who was not heard was seen to answer for the addresses.
func (f *fate) named(by netip.Addr) string {
	if by.IsValid() {
		return by.String()
	}
	return f.answerer
}
