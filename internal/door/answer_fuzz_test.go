package door

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

// FuzzAnswer reads what a helper says that lies or is broken: it is an answer that can be said again, or it is refused in one line
// that can be read.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(frame(f, answer{Output: "done\n", Status: 3, Error: "exit status 3", TookMS: 7})))
	f.Add([]byte(frame(f, answer{Refused: "no such hook", Status: -1, Word: "503"})))
	for _, text := range []string{
		"", "Segmentation fault\n", "understudy-helper 1 400\n{", "understudy-helper 1 999999999\n", "understudy-helper 2 brief\n", "understudy-helper 1 -1\n{}",
		"understudy-helper 1 0\n", "understudy-helper 1 4\nnull", "understudy-helper 1 4\n{}{}", "understudy-helper 1 15\n{\"status\":\"no\"}",
		"understudy-helper 1 1006\n{\"" + strings.Repeat("x", 1000) + "\":1}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		var a answer
		if err := readFrame(bufio.NewReader(bytes.NewReader(said)), &a, maxAnswer); err != nil {
			if text := words(err); strings.ContainsAny(text, "\r\n") || len(text) > 1000 {
				t.Fatalf("no line to read, of %d bytes: %q", len(text), text)
			}
			return
		}
		var again answer
		if err := readFrame(bufio.NewReader(strings.NewReader(frame(t, a))), &again, maxRequest); err != nil || again != a {
			t.Fatalf("%+v was said, and read as %+v: %v", a, again, err)
		}
	})
}
