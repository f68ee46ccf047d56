package vrrp

import (
	"encoding/json"
	"testing"
	"time"
)

// TestLate: who stood still hears late what waited for it. What its sender signed before a new start, and after what was heard last, is early
// all the same, as long as the clocks are as they were; and whoever lives is believed at once.
func TestLate(t *testing.T) {
	const s = time.Second
	const stood = time.Nanosecond                // more: its clock has not gone on since it was set back
	const again = 2 * time.Nanosecond            // more: it signs another one in that moment
	type advert struct{ at, sent time.Duration } // by this host's clock, and by the sender's
	tests := []struct {
		name   string
		heard  []advert
		caught time.Duration // by the sender's clock, is played at 1000 s by this host's, at which that starts anew
		want   string
	}{
		{"it never was late", []advert{{990 * s, 990 * s}, {995 * s, 995 * s}}, 998 * s, "early"},
		{"the last was 3 s late", []advert{{990 * s, 990 * s}, {995 * s, 992 * s}}, 998 * s, "early"},
		{"the last two were", []advert{{990 * s, 990 * s}, {995 * s, 992 * s}, {995 * s, 993 * s}}, 998 * s, "early"},
		{"the last but one was, as the one before it in that moment", []advert{{990 * s, 990 * s}, {995 * s, 992 * s}, {995 * s, 992*s + again}, {995 * s, 993 * s}}, 998 * s, "early"},
		{"one of before was", []advert{{990 * s, 987 * s}, {995 * s, 995 * s}}, 998 * s, "early"},
		{"it lives", []advert{{990 * s, 990 * s}, {995 * s, 992 * s}}, 1000 * s, "believed"},
		{"it lives, its clock ahead", []advert{{990 * s, 992 * s}, {995 * s, 994 * s}}, 1002 * s, "believed"},
		{"it was set back, and stood", []advert{{990 * s, 993 * s}, {991 * s, 993*s + stood}, {997 * s, 997 * s}}, 1000*s - 50*time.Millisecond, "believed"},
		{"its clock may be behind by now: the quickest was 5 min ago", []advert{{600 * s, 600 * s}, {800 * s, 797 * s}, {900 * s, 897 * s}, {998 * s, 995 * s}}, 997 * s, "believed"},
		{"and not quite", []advert{{701 * s, 701 * s}, {800 * s, 797 * s}, {900 * s, 897 * s}, {998 * s, 995 * s}}, 997 * s, "early"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			message := func(sent time.Duration) []byte {
				var signer Authenticator
				at := clock.Add(sent)
				switch sent % time.Millisecond {
				case stood:
					signer.sent, at = SequenceAt(at), at.Add(-s)
				case again:
					signer.sent = SequenceAt(at)
				}
				return signed(t, &signer, keyed(Enforce), at, sealedVectors()[0].advert, signer4, GroupIPv4)
			}
			a := NewAuthenticator(clock.Add(tt.heard[0].at))
			a.Restore(clock, Memory{Marks: []Mark{{Sender: signer4, Sequence: SequenceAt(clock), Heard: clock, Own: true}}}) // it had another host's address
			for _, h := range tt.heard {
				if got := became(t, &a, clock.Add(h.at), message(h.sent)); got != "believed" {
					t.Fatalf("sent at %s, heard at %s: %s", h.sent, h.at, got)
				}
			}
			saved, err := json.Marshal(a.Memory())
			if err != nil {
				t.Fatal(err)
			}
			var memory Memory
			if err := json.Unmarshal(saved, &memory); err != nil {
				t.Fatal(err)
			}
			now := clock.Add(1000 * s)
			next := NewAuthenticator(now)
			next.Restore(now, memory)
			if got := became(t, &next, now, message(tt.caught)); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
