package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// Where the hosts are on the way from no authentication to the next key. A step follows when every host has done the one before.
const (
	stepReceiveOnly = iota + 1 // 0: no authentication
	stepPermissive
	stepEnforce // from here on three steps for each new key: it is given out, it signs, the old one goes
)

// keys are a scenario's authentication.
type keys struct {
	signed bool
	window time.Duration
	ahead  time.Duration // no two clocks are further apart when all are right, but for their drift
	set    bool          // one of them was set
	step   int           // that the hosts have, or are on the way to
	moved  time.Time     // when the last of them got there
	deaf   time.Time     // until then a host may not believe another one whose clock is behind
	caught []caught      // the newest adverts, which somebody has caught
	count  counts
}

// counts are how often somebody without a key tried what, the hosts went a step further, and a clock was set.
type counts struct{ forged, played, old, unheard, steps, adjusted, missets int }

// drawKeys draws whether the hosts sign, how far they are with it and how far their clocks are apart.
func drawKeys(d dice, slowest time.Duration) keys {
	if !d.chance(0.25) {
		return keys{}
	}
	k := keys{signed: true, window: vrrp.DefaultWindow(slowest), step: pick(d, 0, stepEnforce, stepEnforce, stepEnforce)}
	k.ahead = pick(d, 0, 50*time.Millisecond, 800*time.Millisecond, k.window-time.Second)
	return k
}

// auth is what a host has at a step.
func (s *scenario) auth(step int) *vrrp.Auth {
	a := &vrrp.Auth{Active: 1, Window: s.keys.window}
	switch {
	case !s.keys.signed || step == 0:
		return nil
	case step == stepReceiveOnly:
		a.Mode = vrrp.ReceiveOnly
	case step == stepPermissive:
		a.Mode = vrrp.Permissive
	}
	ids := []int{1}
	if next := step - stepEnforce; next > 0 {
		old := 1 + (next-1)/3
		ids, a.Active = []int{old, old + 1}, uint8(old)
		switch (next - 1) % 3 {
		case 1:
			a.Active++
		case 2:
			ids, a.Active = ids[1:], uint8(old+1)
		}
	}
	for _, id := range ids {
		a.Keys = append(a.Keys, vrrp.Key{ID: uint8(id), Secret: secret(keyText(uint8(id)))})
	}
	return a
}

func keyText(id uint8) string { return fmt.Sprint("key ", id) }

func secret(text string) vrrp.Secret {
	return vrrp.NewSecret([]byte(text + strings.Repeat(".", vrrp.MinKeyLen)))
}

// rekey takes all hosts one step further, each when it likes, once all are where they should be: nobody may notice. Whoever is away
// at that time, or whose adverts are still under way, is waited for.
func (s *scenario) rekey(d dice, _ *Host) {
	absent := func(h *Host) bool { return h.paused || h.frozen || h.Cleaning() || h.Away() || h.Lag > 0 }
	if !s.c.now.After(s.keys.moved.Add(8*s.widest)) || slices.ContainsFunc(s.c.hosts, absent) {
		return
	}
	s.keys.step++
	s.keys.count.steps++
	most := pick(d, 0, s.common.Interval, s.o.chaos/8)
	for _, h := range s.c.hosts {
		wait := d.upTo(most)
		s.keys.moved = later(s.keys.moved, s.c.now.Add(wait))
		s.then(wait, gentle, func() { s.giveKeys(h, s.keys.step) })
	}
}

// giveKeys is the reload of one host; the rest of its configuration stays.
func (s *scenario) giveKeys(h *Host, step int) {
	s.c.Note("** keys of %s: step %d", h.Name, step)
	x := s.plights[h]
	if had := s.auth(x.step); had == nil || len(s.auth(step).Keys) > len(had.Keys) {
		x.sure = s.c.now // what the new key signed was refused until now: who was not believed before is early for a while
		s.deafen(s.earliness())
	}
	x.step = step
	cfg := h.cfg
	cfg.Instances = slices.Clone(cfg.Instances)
	for k := range cfg.Instances {
		cfg.Instances[k].Auth = s.auth(step)
	}
	if h.Cleaning() {
		h.cfg = cfg
		return
	}
	h.Reconfigure(cfg)
}

// hush takes note that a host listens anew. Until another's clock has passed that instant, what that one sends may be believed only as
// far as what somebody caught: longer than the promises allow, where the clocks are far apart. What it remembers of the others' clocks
// may be wrong if one was set, and what it signs old until its own shows what it showed before.
func (s *scenario) hush(h *Host) {
	x := s.plights[h]
	x.began, x.sure = s.c.now, s.c.now
	x.unlearn()
	s.deafen(max(s.earliness(), s.misjudgement(h), min(signedAt(x.sent).Sub(h.now()), 2*s.keys.window)))
}

// earliness is how long what another host sends may be early to one that listens anew: until its clock has passed that instant. What is
// remembered of a clock may be wrong if one was set.
func (s *scenario) earliness() time.Duration {
	if s.keys.set {
		return 2 * s.keys.ahead
	}
	return s.keys.ahead - startSlack
}

// deafen says that for a while a host may not be believed that should be.
func (s *scenario) deafen(d time.Duration) {
	if s.keys.signed && d > 0 {
		d += 100 * time.Millisecond
		s.keys.deaf = later(s.keys.deaf, s.c.now.Add(d))
		s.c.after(d, s.p.disturbed)
	}
}
