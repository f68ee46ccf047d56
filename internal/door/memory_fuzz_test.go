package door

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/notify"
)

// FuzzMemory reads what another release or a torn write left: what is found in it is a hook that can be made, and what is kept after
// it is bounded.
func FuzzMemory(f *testing.F) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	options := json.RawMessage(`{"Command":["/bin/true"]}`)
	m := memory{}
	m.note(kept{Instances: []string{"web"}, Hooks: []keptHook{{"tell", "script", notify.Settings{On: []notify.State{notify.Stop}}, options}}}, now)
	m.note(kept{Groups: []string{"edge"}}, now)
	whole, err := json.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(whole))
	for _, text := range []string{
		"", "null", "{}", `{"configurations":null}`, `{"configurations":[{}]}`, strings.Replace(string(whole), "script", "scrip", 1),
		strings.Replace(string(whole), `{"Command":["/bin/true"]}`, "7", 1), string(whole[:len(whole)/2]),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m := readMemory(strings.NewReader(text))
		if last, ok := m.last("tell", stopOf("web"), now); ok {
			if h, err := last.hook(); err == nil {
				_, _ = wanting(h, stopOf("web"))
			}
		}
		m.note(kept{Instances: []string{"other"}}, now)
		if len(m.Configurations) > maxKept {
			t.Fatalf("%d configurations are kept", len(m.Configurations))
		}
	})
}
