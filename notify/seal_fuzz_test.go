package notify

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzSealed goes on with queues that another hand sealed: each comes to an end, tells no hook what that does not want, and can be sealed
// again as it was.
func FuzzSealed(f *testing.F) {
	web := Transition{Instance: "web", State: Master, Previous: Backup, Generation: 7}
	left := Transition{Instance: "edge", Group: true, State: Stop}
	for _, queues := range [][]Sealed{
		nil,
		{{Name: "web", Waiting: []SealedTransition{{web, 3}}}, {Host: true, Current: []SealedTransition{{web, 0}, {left, 0}}, Left: []string{"host", "gone"}}},
		{{Name: "edge", Group: true, Current: []SealedTransition{{left, 1}}, Left: []string{"all", "all", ""}, Waiting: []SealedTransition{{left, -1}}}},
		{{Name: "web", Contention: true, Waiting: []SealedTransition{{Transition: Transition{Instance: "mail", State: "impossible"}}}}, {}},
	} {
		text, err := json.Marshal(queues)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	on := Settings{On: []State{Master, Backup, Stop}}
	hooks := []Hook{{Name: "all", Settings: on}, {Name: "web", Settings: Settings{On: []State{Master}, Instances: []string{"web"}}}, {Name: "host", PerHost: true, Settings: on}}
	f.Fuzz(func(t *testing.T, text []byte) {
		var queues []Sealed
		if json.Unmarshal(text, &queues) != nil {
			return
		}
		n := New(hooks, nil)
		n.Restore(queues)
		if len(queues) == 1 { // of several the order is the map's
			again := New(hooks, nil)
			again.Restore(n.Seal())
			if diff := cmp.Diff(sealedText(t, n), sealedText(t, again)); diff != "" {
				t.Errorf("%q (-restored +sealed and restored again):\n%s", text, diff)
			}
		}
		for k, l := range n.lanes {
			for runs := len(l.queue.left) + len(hooks); ; runs-- {
				hook, batch, ok := l.queue.next(n.hooksOf(k))
				if !ok {
					break
				}
				if runs == 0 || hook.PerHost != k.host || slices.ContainsFunc(batch, func(p pending) bool { return !hook.wants(p.Transition) }) {
					t.Fatalf("%q tells hook %q %+v", text, hook.Name, batch)
				}
			}
			if len(l.queue.waiting)+len(l.queue.current) > 0 {
				t.Fatalf("%q: %+v is left", text, l.queue)
			}
		}
	})
}

// sealedText is what another process would read.
func sealedText(t *testing.T, n *Notifier) string {
	t.Helper()
	text, err := json.Marshal(n.Seal())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
