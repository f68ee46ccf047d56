package checks

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const statRest = " 1 812 812 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 4711 1000 200"

func TestParseStat(t *testing.T) {
	for name, want := range map[string]process{
		"812 (nginx) S" + statRest:          {pid: 812, comm: "nginx", state: 'S', parent: 1, start: 4711},
		"7 (a) Z 9 (b) R) (c) Z" + statRest: {pid: 7, comm: "a) Z 9 (b) R) (c", state: 'Z', parent: 1, start: 4711},
		"8 () R" + statRest:                 {pid: 8, state: 'R', parent: 1, start: 4711},
		"9 (two words\n) T" + statRest:      {pid: 9, comm: "two words\n", state: 'T', parent: 1, start: 4711},
	} {
		got, err := parseStat([]byte(name))
		if err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(process{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", name, diff)
		}
	}
	for _, bad := range []string{"", "812", "812 (nginx", ")(", "x (nginx) S" + statRest, "0 (nginx) S" + statRest, "812 (nginx) S 1 2", "812 (nginx) SS" + statRest, "-1 (a) S" + statRest} {
		if p, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is accepted: %+v", bad, p)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("812 (nginx) S" + statRest))
	f.Add([]byte("7 (a) Z 9 (b) R) (c) Z" + statRest))
	f.Add([]byte(")("))
	f.Add([]byte("1 () "))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := parseStat(text); err == nil && p.pid <= 0 {
			t.Errorf("%q gives pid %d", text, p.pid)
		}
	})
}

func TestParsePID(t *testing.T) {
	for text, want := range map[string]int{"812": 812, "812\n": 812, " 812 \nmore": 812} {
		if got, err := parsePID(text); got != want || err != nil {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"": "it is empty", " \n": "it is empty", "0": `"0" is not a process id`, "-1": `"-1" is not a process id`,
		"+5": `"+5" is not a process id`, "99999999999": `"99999999999" is not a process id`, "nginx": `"nginx" is not a process id`,
	} {
		if got, err := parsePID(text); err == nil || err.Error() != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func FuzzParsePID(f *testing.F) {
	f.Add("812\n")
	f.Add("-1")
	f.Fuzz(func(t *testing.T, text string) {
		if pid, err := parsePID(text); err == nil && pid <= 0 {
			t.Errorf("%q gives %d", text, pid)
		}
	})
}
