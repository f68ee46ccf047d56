package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

const (
	// maxSenders bounds the hosts that a virtual router remembers; a flood of forged senders pushes out only its like.
	maxSenders = 64
	// maxNews bounds the lines of a virtual router's log about what it refuses or finds odd, in each newsWindow, and what of one
	// sender waits for its MAC address; maxHostNews bounds those of all virtual routers. The tallies count everything.
	maxNews     = 6
	maxHostNews = 60
	newsWindow  = time.Minute
	// A fault that was told of a sender is told again when it comes back: after the sender was heard without it for mended, or not
	// heard at all for forgotten, which is more than two of the longest interval that there is (VRRPv2's 255 s).
	mended    = time.Minute
	forgotten = 10 * time.Minute
	// formProof is how many adverts of a peer must come in a row in the other checksum form before it is taken for the peer's.
	formProof = 3
	// offerProof is how many adverts of a handover may come in a row, and mean nothing: there is one before each priority 0, and a
	// network may double it. Who goes on like that has that interval.
	offerProof = 2
	// reflected is for how long after it was sent an advert that comes back is taken for our own, at least.
	reflected = time.Second
)

// sender is what a virtual router remembers of a host that it hears.
type sender struct {
	at      time.Time
	before  time.Time            // when it was heard before that
	refused string               // why its last advert was refused; empty: it was accepted
	turned  turned               // and more of that
	told    map[string]time.Time // what was told of it, and when that was heard last
	held    []news               // what is to be told of it once its MAC address is known, or it is heard again
	offers  int                  // how many of its last adverts were a handover's
	// Of the adverts that were accepted: the last one, how many came in each checksum form, and how many of the last ones in its form, up
	// to formProof.
	priority    uint8
	interval    time.Duration
	accepted    uint64
	pseudo, msg uint64
	form        vrrp.ChecksumForm
	alike       int
}

// news is one line about a sender, without its name.
type news struct{ before, after string }

// allowance is how many lines may still be told in a newsWindow.
type allowance struct {
	from time.Time
	left int
}

// any says whether there is one, of so many in a newsWindow.
func (a *allowance) any(now time.Time, most int) bool {
	if now.Sub(a.from) >= newsWindow {
		*a = allowance{now, most}
	}
	return a.left > 0
}

// senderOf returns what is known of a sender. When there are too many, who was heard longest ago is forgotten, and before
// anybody else those of whom nothing was ever accepted.
func (m *member) senderOf(n *Node, now time.Time, from netip.Addr) *sender {
	s := m.senders[from]
	if s == nil {
		if len(m.senders) >= maxSenders {
			m.forgetOne(n)
		}
		s = &sender{told: map[string]time.Time{}}
		m.senders[from] = s
	}
	s.before, s.at = s.at, now
	return s
}

func (m *member) forgetOne(n *Node) {
	var oldest netip.Addr
	var o *sender // it
	for from, s := range m.senders {
		if o == nil || (s.accepted == 0) != (o.accepted == 0) && s.accepted == 0 ||
			(s.accepted == 0) == (o.accepted == 0) && (s.at.Before(o.at) || s.at.Equal(o.at) && from.Less(oldest)) {
			oldest, o = from, s
		}
	}
	delete(m.senders, oldest)
	delete(n.aroundOf(m.of.cfg.Interface).awaited, oldest) // else nothing but that sender would ever make room for another
}

// isNews says whether a fault of a sender is to be told now: it is new, or has come back. What there is no room for is tried again
// with its next packet.
func (m *member) isNews(n *Node, now time.Time, s *sender, fault string) bool {
	last, told := s.told[fault]
	rest := forgotten
	if s.before.After(last) { // heard meanwhile, without it
		rest = mended
	}
	if told && now.Sub(last) < rest {
		s.told[fault] = now
		return false
	}
	if !m.mayTell(n, now) || len(s.held) >= maxNews {
		return false
	}
	s.told[fault] = now
	return true
}

// mayTell says whether there is room for a line in the log.
func (m *member) mayTell(n *Node, now time.Time) bool {
	return m.news.any(now, maxNews) && n.news.any(now, maxHostNews)
}

// tell logs a line about a sender once its MAC address is known; it is waited for until its next packet.
func (m *member) tell(n *Node, from netip.Addr, s *sender, line news) {
	m.news.left--
	n.news.left--
	s.held = append(s.held, line)
	a := n.aroundOf(m.of.cfg.Interface)
	if a.macs[from].last != "" || len(a.awaited) >= maxAround {
		m.release(n, from, s)
		return
	}
	a.awaited[from] = true
}

// release logs what was held back about a sender.
func (m *member) release(n *Node, from netip.Addr, s *sender) {
	if len(s.held) == 0 {
		return
	}
	who := from.String()
	a := n.aroundOf(m.of.cfg.Interface)
	delete(a.awaited, from) // another virtual router's news of it go with its next packet
	if mac := a.macs[from]; mac.last != "" {
		who = fmt.Sprintf("%s (%s)", from, mac)
	}
	for _, line := range s.held {
		n.do(Warned{m.of.cfg.Name, line.before + who + line.after})
	}
	s.held = nil
}

// refuse counts an advert that is not accepted, and tells of it when that is news. Its interval may not be known.
func (m *member) refuse(n *Node, now time.Time, ev Refused, pace time.Duration) {
	reason := vrrp.ReasonOf(ev.Err)
	m.refusals.add(reason, Count{Count: ev.Count, Last: ev.From, MAC: n.mac(ev.Interface, ev.From), At: now}, ev.Err.Error)
	if m.senders[ev.From] == nil && len(m.senders) >= maxSenders && !m.mayTell(n, now) {
		return // a flood of forged senders comes here with each packet
	}
	s := m.senderOf(n, now, ev.From)
	m.release(n, ev.From, s)
	s.turnAway(now, ev.Err, pace)
	if m.isNews(n, now, s, reason) {
		m.tell(n, ev.From, s, news{"adverts from ", fmt.Sprintf(" are refused: %v", ev.Err)})
	}
}

// accepted counts an advert, and tells what is odd about its sender.
func (m *member) accepted(n *Node, now time.Time, ev Heard, notices []vrrp.Notice) {
	m.counters.Accepted++
	s := m.senderOf(n, now, ev.From)
	m.release(n, ev.From, s)
	s.refused, s.turned, s.priority, s.interval = "", turned{}, ev.Priority, ev.Interval
	s.accepted++
	if m.countForm(s, ev) {
		notices = append(notices, vrrp.NoticeChecksum)
	}
	if m.countOffer(s, ev.Advert) {
		notices = append(notices, vrrp.NoticeInterval)
	}
	for _, notice := range notices {
		m.notice(n, now, ev.From, notice, func() string { return m.explain(notice, ev.Advert) })
	}
}

// countOffer counts the adverts of a handover that come in a row. It says whether they are none: the sender's interval is as short.
func (m *member) countOffer(s *sender, a vrrp.Advert) bool {
	if !vrrp.IsOffer(a) || a.Priority == vrrp.PriorityRelease {
		s.offers = 0
		return false
	}
	s.offers = min(s.offers+1, offerProof+1)
	return s.offers > offerProof && a.Interval != m.machine.Config().Interval
}

// notice counts what is odd about the last advert of a sender, which was accepted, and tells it when that is news.
func (m *member) notice(n *Node, now time.Time, from netip.Addr, what vrrp.Notice, explain func() string) {
	m.notices.add(string(what), Count{Last: from, MAC: n.mac(m.of.cfg.Interface, from), At: now}, explain)
	if what == vrrp.NoticeLinkLocal && !m.machine.Config().Addresses[0].IsLinkLocalUnicast() {
		return // counted, but no news: this host's own adverts are the same
	}
	if s := m.senders[from]; m.isNews(n, now, s, string(what)) {
		m.tell(n, from, s, news{fmt.Sprintf("%s from ", what), ", accepted all the same: " + explain()})
	}
}

// countForm counts the checksum's form, of which only VRRPv3 over IPv4 has two. It says whether the sender now sends none but the
// one that this host does not send.
func (m *member) countForm(s *sender, ev Heard) bool {
	if m.family != vrrp.IPv4 || ev.Version != vrrp.V3 {
		return false
	}
	if ev.Form == vrrp.ChecksumMessage {
		m.counters.Message++
		s.msg++
	} else {
		m.counters.PseudoHeader++
		s.pseudo++
	}
	if ev.Form != s.form {
		s.form, s.alike = ev.Form, 0
	}
	s.alike = min(s.alike+1, formProof)
	return s.form != m.of.cfg.Checksum && s.alike == formProof
}

// stranger is what the texts say of an advert that may be another cluster's.
func (m *member) stranger(a vrrp.Advert) string {
	return fmt.Sprintf("it advertises %v every %s, this host %v every %s; another cluster may use VRID %d on this link: then give this one another vrid; "+
		"if it is a host of this cluster, write the same addresses and advertise_interval on all of them",
		a.Addresses, a.Interval, m.machine.Config().Addresses, m.machine.Config().Interval, m.machine.Config().VRID)
}

// explain says what differs, and what to do.
func (m *member) explain(notice vrrp.Notice, a vrrp.Advert) string {
	cfg := m.machine.Config()
	switch notice {
	case vrrp.NoticeStranger:
		return m.stranger(a)
	case vrrp.NoticeAddresses:
		return fmt.Sprintf("it advertises %v, this host has %v; write the same addresses on all hosts", a.Addresses, cfg.Addresses)
	case vrrp.NoticeInterval:
		return fmt.Sprintf("its interval is %s, this host's %s: as its backup this host would take over after %s of silence, not %s; write the same advertise_interval on all hosts",
			a.Interval, cfg.Interval, m.masterDown(a.Interval), m.masterDown(cfg.Interval))
	case vrrp.NoticeOwner:
		return "both hosts have priority 255, the address owner's, and only one may be that; give all hosts but one a priority below 255"
	case vrrp.NoticeSameOwn:
		return fmt.Sprintf("both hosts have priority %d, so the higher address wins; write different priorities", a.Priority)
	case vrrp.NoticeChecksum:
		return m.explainForm()
	default:
		return fmt.Sprintf("its first address is %s; RFC 9568 wants a link-local one first", a.Addresses[0])
	}
}

// masterDown is how long this host waits for a master with that interval (Master_Down_Interval).
func (m *member) masterDown(interval time.Duration) time.Duration {
	return m.machine.Config().MasterDown(m.machine.Priority(), interval).Round(time.Millisecond)
}

// explainForm names the setting that sends what the peer sends.
func (m *member) explainForm() string {
	if m.of.cfg.Checksum == vrrp.ChecksumMessage {
		return `its checksums cover a pseudo-header, as keepalived's and FRR's do, and this host's do not: it may refuse them; if it does, remove checksum = "rfc9568"`
	}
	return `its checksums are RFC 9568's, without a pseudo-header, as Cisco's and Juniper's are, and this host's have one: it may refuse them; if it does, write checksum = "rfc9568"`
}

// detail says more of a refusal than that rule was broken.
func (m *member) detail(n *Node, now time.Time, err error, r vrrp.Received) error {
	cfg, a := m.machine.Config(), r.Advert
	switch err {
	case error(vrrp.ErrOwnAdvert):
		if n.foreign(now, m, r) {
			return vrrp.ErrSameAddress.Because("another host uses this host's own address %s, and advertises priority %d from it; give each host an address of its own", r.From, a.Priority)
		}
	case error(vrrp.ErrHopLimit):
		return vrrp.ErrHopLimit.Because("its TTL or hop limit is %d, not 255: it was forwarded by a router, or forged; VRRP works on one link only", r.HopLimit)
	case error(vrrp.ErrVersionMismatch):
		return vrrp.ErrVersionMismatch.Because("it speaks VRRPv%d, this instance VRRPv%d; write the same version on all hosts", a.Version, cfg.Version)
	case error(vrrp.ErrIntervalMismatch):
		if cfg.Stranger(a) {
			return vrrp.ErrIntervalMismatch.Because("%s", m.stranger(a))
		}
		return vrrp.ErrIntervalMismatch.Because("its interval is %s, this host's %s, and VRRPv2 demands the same: both hosts become master; write the same advertise_interval on all hosts",
			a.Interval, cfg.Interval)
	case error(vrrp.ErrStrictAddresses):
		return vrrp.ErrStrictAddresses.Because("it advertises %v, this host has %v, and strict is on; write the same addresses on all hosts", a.Addresses, cfg.Addresses)
	}
	return err
}

// sent is an advert of ours, as far as it tells it from another's.
type sent struct {
	priority uint8
	interval time.Duration
	at       time.Time
}

// maxSent is how many are remembered: those of a handover, and the one before it.
const maxSent = 5

// remember takes note of an advert that goes out.
func (m *member) remember(now time.Time, a vrrp.Advert) {
	m.sent = append(m.sent, sent{a.Priority, a.Interval, now})
	if len(m.sent) > maxSent {
		m.sent = slices.Delete(m.sent, 0, 1)
	}
}

// sentLately says whether an advert can be one of ours that came back.
func (m *member) sentLately(now time.Time, a vrrp.Advert) bool {
	cfg := m.machine.Config()
	return a.Version == cfg.Version && slices.Equal(a.Addresses, cfg.Addresses) && slices.ContainsFunc(m.sent, func(s sent) bool {
		return s.priority == a.Priority && s.interval == a.Interval && now.Sub(s.at) <= max(reflected, cfg.Interval)
	})
}

// SpeakerStatus is a host that a virtual router has accepted adverts of.
type SpeakerStatus struct {
	Address      netip.Addr    `json:"address"`
	MAC          string        `json:"mac,omitempty"`
	Heard        time.Time     `json:"heard"`
	Priority     uint8         `json:"priority"`
	Interval     time.Duration `json:"interval_ns"`
	Refused      string        `json:"refused,omitempty"`  // why its last advert was
	Checksum     string        `json:"checksum,omitempty"` // its last advert's form; only VRRPv3 over IPv4 has two
	PseudoHeader uint64        `json:"pseudo_header,omitempty"`
	Message      uint64        `json:"rfc9568,omitempty"`
}

// speakerStatuses lists them by address.
func (m *member) speakerStatuses(n *Node) []SpeakerStatus {
	var out []SpeakerStatus
	for from, s := range m.senders {
		if s.accepted == 0 {
			continue
		}
		form := ""
		if s.pseudo+s.msg > 0 {
			form = s.form.String()
		}
		out = append(out, SpeakerStatus{from, n.mac(m.of.cfg.Interface, from), s.at, s.priority, s.interval, s.refused, form, s.pseudo, s.msg})
	}
	slices.SortFunc(out, func(a, b SpeakerStatus) int { return a.Address.Compare(b.Address) })
	return out
}
