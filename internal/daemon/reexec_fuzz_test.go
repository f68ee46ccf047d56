package daemon

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzTrialAnswer reads what a program on trial writes that may be any program: only one with the same format goes on, and why
// another does not is one line that can be read.
func FuzzTrialAnswer(f *testing.F) {
	for _, a := range []TrialAnswer{{sealedFormat, "v1.2.3"}, {sealedFormat + 1, "v2.0.0"}, {-1, "two\r\nlines"}, {sealedFormat + 1, strings.Repeat("x", 1000)}, {}} {
		text, err := json.Marshal(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(append(text, text...))
	}
	for _, text := range []string{"", "null", "[]", "{", "usage: sleep NUMBER\n", `{"format":"1"}`, `{"format":1e99}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		err := judgeTrial("/usr/bin/understudy", out)
		var answer TrialAnswer
		if same := json.Unmarshal(out, &answer) == nil && answer.Format == sealedFormat; same != (err == nil) {
			t.Fatalf("%q: %v", out, err)
		}
		if err != nil && (strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 1000) {
			t.Fatalf("no line to read, of %d bytes: %q", len(err.Error()), err)
		}
	})
}
