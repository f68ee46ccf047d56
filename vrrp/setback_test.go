package vrrp

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// startedAgain is the Authenticator of a process that is started after this one's.
func startedAgain(t *testing.T, a *Authenticator, now time.Time) Authenticator {
	t.Helper()
	text, err := json.Marshal(a.Memory())
	if err != nil {
		t.Fatal(err)
	}
	var memory Memory
	if err := json.Unmarshal(text, &memory); err != nil {
		t.Fatal(err)
	}
	next := NewAuthenticator(now)
	next.Restore(now, memory)
	return next
}

// TestHeardBeforeAClockWasSet: what was heard is not believed also where its sender sent something later that lies in the future, outside the
// window, since this host's clock was set back, or its sender's went ahead for a moment. To the processes after this one as well. It is
// early, as is a sender who was set back with this host. One who is set back further than by two windows is believed.
func TestHeardBeforeAClockWasSet(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	clock := clock.Truncate(s)
	type step struct {
		at, sent time.Duration // by this host's clock, and by the sender's
		want     string        // empty: this host's clock is set to at, or goes on so far that nobody notices
	}
	// steady is what a sender sends whose clock is so much ahead, each second.
	steady := func(from, to, ahead time.Duration, then ...step) (steps []step) {
		for at := from; at <= to; at += s {
			steps = append(steps, step{at, at + ahead, "believed"})
		}
		return append(steps, then...)
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"the sender's clock was 7 s ahead for a moment", []step{
			{800 * ms, 780 * ms, "believed"}, {2005 * ms, 7800 * ms, "believed"}, {at: 1070 * ms}, {1070 * ms, 780 * ms, "early"}, {1080 * ms, 500 * ms, "early"},
			{3 * s, 7800 * ms, "early"}, {8 * s, 7900 * ms, "believed"},
		}},
		{"its clock is almost a window ahead, and this host's goes back by half a second", []step{
			{9400 * ms, 14900 * ms, "believed"}, {10400 * ms, 15900 * ms, "believed"}, {9900 * ms, 14900 * ms, "early"}, {10500 * ms, 16 * s, "stale"}, {11 * s, 16500 * ms, "believed"},
		}},
		{"its clock is ahead, and this host's is set back by almost a window", steady(s, 20*s, 4*s,
			step{at: 16 * s}, step{16 * s, 15500 * ms, "early"}, step{17 * s, 22 * s, "early"}, step{20 * s, 25 * s, "believed"})},
		{"an early one has it forgotten", steady(s, 20*s, 4*s,
			step{at: 16 * s}, step{16 * s, 13 * s, "early"}, step{16 * s, 15500 * ms, "early"}, step{16 * s, 13500 * ms, "early"}, step{16 * s, 18 * s, "early"}, step{20 * s, 25 * s, "believed"})},
		{"both clocks were a minute ahead for a moment", []step{
			{9 * s, 9 * s, "believed"}, {10 * s, 10 * s, "believed"}, {at: 70 * s}, {71 * s, 71 * s, "believed"}, {72 * s, 72 * s, "believed"}, {at: 10500 * ms},
			{10500 * ms, 10 * s, "early"}, {10510 * ms, 9800 * ms, "early"}, {11 * s, 11 * s, "believed"}, {12 * s, 11 * s, "replay"}, {12 * s, 10 * s, "replay"}, {70 * s, 70 * s, "believed"},
		}},
		{"both clocks were an hour ahead, and come there again", []step{
			{3600 * s, 3600 * s, "believed"}, {at: 10 * s}, {10 * s, 10 * s, "believed"}, {11 * s, 10 * s, "replay"}, {3599 * s, 3599 * s, "believed"}, {3600 * s, 3600 * s, "believed"},
		}},
		{"the same with a sender that is behind", []step{
			{3600 * s, 3597 * s, "believed"}, {at: 10 * s}, {10 * s, 7 * s, "early"}, {11 * s, 8 * s, "early"}, {13 * s, 10 * s, "believed"}, {3598 * s, 3595 * s, "believed"},
		}},
		{"the sender was set back by an hour and this host before it", []step{
			{3600 * s, 3600 * s, "believed"}, {at: 10 * s}, {11 * s, 3605 * s, "stale"}, {12 * s, 12 * s, "believed"},
		}},
	}
	for _, tt := range tests {
		for _, next := range []string{"this one", "exchanged at each step", "started again when the clock is set"} {
			t.Run(tt.name+", "+next, func(t *testing.T) {
				a, shown := NewAuthenticator(clock), time.Duration(0)
				for _, x := range tt.steps {
					now := clock.Add(x.at)
					if x.want == "" {
						a.clockSet(now, x.at > shown)
					}
					switch {
					case next == "exchanged at each step":
						a = goesOn(&a, now, &Config{Auth: keyed(Enforce)})
					case next == "started again when the clock is set" && x.want == "":
						a = startedAgain(t, &a, now)
					}
					if shown = x.at; x.want == "" {
						continue
					}
					var signer Authenticator
					message := signed(t, &signer, keyed(Enforce), clock.Add(x.sent), sealedVectors()[0].advert, signer4, GroupIPv4)
					if got := became(t, &a, now, message); got != x.want {
						t.Errorf("sent at %s, heard at %s: %s, want %s", x.sent, x.at, got, x.want)
					}
				}
			})
		}
	}
}

// TestSetBackIsHeardAgain: however far the clocks of both hosts are set back, the sender, which remembers nothing, is believed within two
// windows; where its clock is behind this host's then, within three.
func TestSetBackIsHeardAgain(t *testing.T) {
	const s, window, heard = time.Second, 5 * time.Second, time.Hour
	for ahead := -4 * s; ahead <= 5*s; ahead += s { // the sender's clock, when it was heard
		for back := time.Duration(0); back <= 30*s; back += s { // how far this host's is set back
			for agrees := -4 * s; agrees <= 4*s; agrees += s { // and the sender's clock is ahead then
				at := func(sent time.Duration) []byte {
					var signer Authenticator
					return signed(t, &signer, keyed(Enforce), clock.Add(sent), sealedVectors()[0].advert, signer4, GroupIPv4)
				}
				a, name := NewAuthenticator(clock), fmt.Sprintf("ahead by %s, set back by %s, then ahead by %s", ahead, back, agrees)
				if got := became(t, &a, clock.Add(heard), at(heard+ahead)); got != "believed" && got != "early" {
					t.Fatalf("%s: %s before", name, got)
				}
				a.clockSet(clock.Add(heard-back), false)
				took := time.Duration(0)
				for became(t, &a, clock.Add(heard-back+took), at(heard-back+took+agrees)) != "believed" {
					if took += s; took > 4*window {
						break
					}
				}
				most := 2 * window
				if agrees < 0 {
					most = 3 * window
				}
				if took > most+s {
					t.Errorf("%s: believed after %s", name, took)
				}
			}
		}
	}
}

// TestSetBackTogether: keepalived, whose clock is set back together with this host's by more than a window, signs by that, and each of its
// adverts keeps a backup waiting at once, and is believed when it has passed what was heard. What somebody plays meanwhile, of whatever
// time, is not believed, and has none of that refused. So to a process that goes on for this one.
func TestSetBackTogether(t *testing.T) {
	const ms, s, heard = time.Millisecond, time.Second, time.Hour
	at := func(sent time.Duration) []byte {
		var signer Authenticator
		return signed(t, &signer, keyed(Enforce), clock.Add(sent), sealedVectors()[0].advert, signer4, GroupIPv4)
	}
	for _, tt := range []struct {
		back, ahead, early time.Duration // by what both are set, how far ahead the sender is, and until when it is early; negative: it is not
	}{
		{8 * s, 0, 8 * s},
		{8 * s, 2 * s, 8 * s},
		{7 * s, 500 * ms, 7 * s},
		{10 * s, -1500 * ms, 10 * s},
		{12 * s, 0, -1},
		{12 * s, -1500 * ms, 0},
		{12 * s, -3500 * ms, 12 * s},
	} {
		for _, exchanged := range []bool{false, true} {
			for _, plays := range []bool{false, true} {
				a := NewAuthenticator(clock)
				for before := -20 * s; before <= 0; before += s {
					if got := became(t, &a, clock.Add(heard+before), at(heard+before+tt.ahead)); got != "believed" {
						t.Fatalf("%s before", got)
					}
				}
				a.clockSet(clock.Add(heard-tt.back), false)
				for took := time.Duration(0); took <= 20*s; took += s {
					now, want := heard-tt.back+took, "believed"
					if took <= tt.early {
						want = "early"
					}
					for _, old := range []time.Duration{-3 * s, 0, 4 * s, 5 * s} { // when that was sent, from now on
						if caught := now + old + tt.ahead; plays && took > 0 && want == "early" && caught <= heard+tt.ahead {
							if got := became(t, &a, clock.Add(now), at(caught)); got == "believed" {
								t.Errorf("%+v: what somebody plays of %s is %s after %s", tt, old, got, took)
							}
						}
					}
					if exchanged {
						a = goesOn(&a, clock.Add(now), &Config{Auth: keyed(Enforce)})
					}
					if got := became(t, &a, clock.Add(now), at(now+tt.ahead)); got != want {
						t.Errorf("%+v, exchanged %t, somebody plays %t: %s after %s, want %s", tt, exchanged, plays, got, took, want)
					}
				}
			}
		}
	}
}

// TestOwnAdvertsBeforeAClockWasSet: what this host sent from a former address is not believed also where its clock was a minute ahead since then.
func TestOwnAdvertsBeforeAClockWasSet(t *testing.T) {
	const s = time.Second
	a, advert, cfg := NewAuthenticator(clock), sealedVectors()[0].advert, keyed(Enforce)
	caught := signed(t, &a, cfg, clock, advert, signer4, GroupIPv4)
	signed(t, &a, cfg, clock.Add(60*s), advert, signer4, GroupIPv4)
	signed(t, &a, cfg, clock.Add(61*s), advert, peer4, GroupIPv4) // from its new address
	if got := became(t, &a, clock.Add(s), caught); got != "early" {
		t.Errorf("what it sent before: %s", got)
	}
}

// TestSignedTimeStands: a sender whose clock was set back goes on at the time of what it sent, and a host whose own clock was set back then,
// too, believes it there: what comes next at that time, within three windows, of a sender that it believed, and nothing else.
func TestSignedTimeStands(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name     string
		set      time.Duration // this host's clock, and
		signs    time.Duration // the sender's then; before it was 10 s
		other    bool          // the sender is another one
		believed bool
	}{
		{"both were set back", 0, 2 * s, false, true},
		{"another sender, never believed", 0, 2 * s, true, false},
		{"the sender's clock goes on", 0, 10500 * time.Millisecond, false, false},
		{"the sender's clock is set back too far", -2 * s, -2 * s, false, true}, // it is followed
		{"as far as it may be", -5 * s, 0, false, true},
		{"this host's was set back too far", -6 * s, 0, false, false},
		{"this host's was set ahead", 16 * s, 2 * s, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := NewAuthenticator(clock)
			var signer Authenticator
			says := func(at, sent time.Duration) (string, []byte) {
				message := signed(t, &signer, keyed(Enforce), clock.Add(sent), sealedVectors()[0].advert, signer4, GroupIPv4)
				return became(t, &a, clock.Add(at), message), message
			}
			if got, _ := says(6*s, 10*s); got != "believed" {
				t.Fatalf("%s before", got)
			}
			if tt.other {
				a.senders[peer4] = a.senders[signer4]
				delete(a.senders, signer4)
			}
			a.clockSet(clock.Add(tt.set), tt.set > 6*s)
			for range 2 {
				got, message := says(tt.set, tt.signs)
				if believed := got == "believed"; believed != tt.believed {
					t.Errorf("it is %s, want it believed: %t", got, tt.believed)
				}
				if again := became(t, &a, clock.Add(tt.set), message); again == "believed" {
					t.Error("it is believed twice")
				}
			}
		})
	}
}
