package command

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestTailKeepsTheEnd(t *testing.T) {
	long := strings.Repeat("0123456789", 1000)
	tests := []struct {
		name   string
		writes []string
		want   string
	}{
		{name: "nothing", want: ""},
		{name: "less than fits", writes: []string{"a", "b"}, want: "ab"},
		{name: "exactly what fits", writes: []string{long[:MaxOutput]}, want: long[:MaxOutput]},
		{name: "one write that is too long", writes: []string{long}, want: long[len(long)-MaxOutput:]},
		{name: "round the end", writes: []string{long[:3000], long[3000:6000]}, want: long[6000-MaxOutput : 6000]},
		{name: "a long write after a short one", writes: []string{"x", long}, want: long[len(long)-MaxOutput:]},
		{name: "half a character at the cut is dropped", writes: []string{"€" + long[:MaxOutput-1]}, want: long[:MaxOutput-1]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tl tail
			for _, w := range tt.writes {
				if n, err := tl.Write([]byte(w)); n != len(w) || err != nil {
					t.Fatalf("write of %d bytes: %d, %v", len(w), n, err)
				}
			}
			if diff := cmp.Diff(tt.want, tl.String()); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzTail(f *testing.F) {
	f.Add([]byte("a\xffb\x00c\r\n"), 3)
	f.Add([]byte(strings.Repeat("€", 2000)), 7)
	f.Add([]byte(strings.Repeat("\xff\x80a", 2000)), 4095)
	f.Fuzz(func(t *testing.T, p []byte, size int) {
		var tl tail
		for chunk := range slices.Chunk(p, 1+max(0, size)%5000) {
			_, _ = tl.Write(chunk)
		}
		s := tl.String()
		if !utf8.ValidString(s) || len(s) > MaxOutput {
			t.Errorf("%d bytes, valid %t", len(s), utf8.ValidString(s))
		}
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
			t.Errorf("control characters in %q", s)
		}
	})
}
