package linux

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// ledger is the list of held addresses, indexed so that a change costs what it changes and not what there is.
type ledger struct {
	owners   map[string]map[site]*record
	places   map[place][]*record
	networks map[connected]int // how many records want the route
	changed  bool              // since held.json was read or written
}

// record is one line of the ledger.
type record struct {
	Held
	line []byte // as held.json has it
	// sure says that the kernel took the address and that nobody has missed it since: it is renewed without a look.
	sure bool
	// stale says that its owner does not want it any more.
	stale bool
}

// site tells the records of one owner apart. An interface of the same name that came back with another index is the
// same site: what was on the old one is gone with it, or is removed; see leave.
type site struct {
	ifName string
	ip     netip.Addr
}

func newLedger(list []Held) *ledger {
	l := &ledger{owners: map[string]map[site]*record{}, places: map[place][]*record{}, networks: map[connected]int{}}
	for _, h := range list {
		l.put(h)
	}
	l.changed = false
	return l
}

// put notes that an address is, or is about to be, held.
func (l *ledger) put(h Held) {
	s := site{h.Interface, h.IP}
	if old := l.owners[h.Owner][s]; old != nil {
		if old.Held == h {
			return
		}
		l.drop(old)
	}
	r := &record{Held: h}
	if l.owners[h.Owner] == nil {
		l.owners[h.Owner] = map[site]*record{}
	}
	l.owners[h.Owner][s] = r
	l.places[h.at()] = append(l.places[h.at()], r)
	if h.Network.IsValid() {
		l.networks[h.route()]++
	}
	l.changed = true
}

// drop removes a record.
func (l *ledger) drop(r *record) {
	of := l.owners[r.Owner]
	delete(of, site{r.Interface, r.IP})
	if len(of) == 0 {
		delete(l.owners, r.Owner)
	}
	l.places[r.at()] = slices.DeleteFunc(l.places[r.at()], func(x *record) bool { return x == r })
	if len(l.places[r.at()]) == 0 {
		delete(l.places, r.at())
	}
	if c := r.route(); r.Network.IsValid() {
		if l.networks[c]--; l.networks[c] == 0 {
			delete(l.networks, c)
		}
	}
	l.changed = true
}

// wanted reports whether somebody still wants the address at a place.
func (l *ledger) wanted(p place) bool {
	return slices.ContainsFunc(l.places[p], func(r *record) bool { return !r.stale })
}

// of lists an owner's records in order.
func (l *ledger) of(owner string) []*record {
	return slices.SortedFunc(maps.Values(l.owners[owner]), func(a, b *record) int {
		return cmp.Or(strings.Compare(a.Interface, b.Interface), a.IP.Compare(b.IP))
	})
}

// all lists every record, in the order of held.json.
func (l *ledger) all() []*record {
	var list []*record
	for _, owner := range slices.Sorted(maps.Keys(l.owners)) {
		list = append(list, l.of(owner)...)
	}
	return list
}

// encode is the content of held.json, one record to a line. A record is encoded once in its life: with thousands of them
// the rest of a batch would cost less than that.
func (l *ledger) encode(boot string) []byte {
	b := fmt.Appendf(nil, "{\"boot_id\": %q, \"addresses\": [", boot)
	separator := "\n"
	for _, r := range l.all() {
		if r.line == nil {
			r.line, _ = json.Marshal(r.Held) // strings and numbers: cannot fail
		}
		b = append(append(b, separator...), r.line...)
		separator = ",\n"
	}
	return append(b, "\n]}\n"...)
}
