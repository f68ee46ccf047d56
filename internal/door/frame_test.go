package door

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/understudy-ha/understudy/notify"
)

// asked is a good request for a hook.
func asked() request {
	return request{Hook: "tell", Transition: toldFrom(become(notify.Master)), TimeoutMS: 10_000}
}

// become is a transition of the instance "web".
func become(s notify.State) notify.Transition {
	return notify.Transition{
		Instance: "web", State: s, Previous: notify.Backup, Priority: 150, Reason: "the master fell silent", Interface: "eth0", Node: "lb1", Generation: 7,
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")},
	}
}

func frame(t testing.TB, message any) string {
	t.Helper()
	var b bytes.Buffer
	if err := writeFrame(&b, message, maxRequest); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func readRequest(s string) (r request, err error) {
	return r, readFrame(bufio.NewReader(strings.NewReader(s)), &r, maxRequest)
}

func TestFrame(t *testing.T) {
	text := frame(t, request{Check: "backends", TimeoutMS: 500})
	if want := "understudy-helper 1 37\n" + `{"check":"backends","timeout_ms":500}`; text != want {
		t.Errorf("a frame is %q, want %q", text, want)
	}
	want := asked()
	got, err := readRequest(frame(t, want))
	if diff := cmp.Diff(want, got, compareAddr); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

var compareAddr = cmpopts.EquateComparable(netip.Addr{})

func TestWhatIsNoFrame(t *testing.T) {
	good := `{"check":"backends","timeout_ms":500}`
	tests := []struct{ name, text, want string }{
		{"nothing", "", "EOF"},
		{"another protocol", "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", `it begins with "GET /v1/status HTTP/1.1\r", which is not understudy's`},
		{"a line that does not end", strings.Repeat("x", 1000), `it begins with "` + strings.Repeat("x", maxQuote) + `", which is not understudy's`},
		{"half a header", "understudy-hel", "half a header: unexpected EOF"},
		{"no version", "understudy-helper\n", `it begins with "understudy-helper", which is not understudy's`},
		{"no length", "understudy-helper 1\n", `it begins with "understudy-helper 1", which is not understudy's`},
		{"a length below 0", "understudy-helper 1 -1\n", `it begins with "understudy-helper 1 -1", which is not understudy's`},
		{"a length with zeros in front", "understudy-helper 1 007\n{}     ", `it begins with "understudy-helper 1 007", which is not understudy's`},
		{"a length that no number holds", "understudy-helper 1 99999999999999999999\n", `it begins with "understudy-helper 1 999999999999", which is not understudy's`},
		{"a length above the bound", fmt.Sprintf("understudy-helper 1 %d\n", maxRequest+1), "a message of 262145 bytes; allowed: at most 262144"},
		{"a later version, whatever follows", "understudy-helper 2 +?\n", "version 2 of the protocol"},
		{"less than its length", "understudy-helper 1 1000\n" + good, "a message of 1000 bytes: unexpected EOF"},
		{"no JSON", "understudy-helper 1 5\nhello", "a message that is not understood: invalid character 'h' looking for beginning of value"},
		{"half a JSON", "understudy-helper 1 5\n{\"ho\"", "a message that is not understood: unexpected EOF"},
		{"a key that there is not", "understudy-helper 1 22\n" + `{"command":["/bin/x"]}`, `a message that is not understood: json: unknown field "command"`},
		{"a long key that there is not", "understudy-helper 1 1006\n{\"" + strings.Repeat("x", 1000) + "\":1}", `a message that is not understood: json: unknown field "` + strings.Repeat("x", 179)},
		{"two messages in a frame", "understudy-helper 1 4\n{}{}", "more than one message in a frame"},
		{"a value of another type", "understudy-helper 1 10\n" + `{"hook":7}`,
			"a message that is not understood: json: cannot unmarshal number into Go struct field request.hook of type string"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := readRequest(tt.text); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
	if err := writeFrame(io.Discard, request{Hook: strings.Repeat("x", maxRequest)}, maxRequest); err == nil {
		t.Error("a frame above the bound is written")
	}
}

// FuzzRequest: whatever comes, reading it ends; what is accepted is what a daemon would send, and is written back as it was read.
func FuzzRequest(f *testing.F) {
	f.Add(frame(f, asked()))
	f.Add(frame(f, request{Check: "backends", TimeoutMS: 500}))
	f.Add("understudy-helper 2 10\n{}")
	f.Add("understudy-helper 1 999999999\n{}")
	f.Add("understudy-helper 1 62\n" + `{"hook":"a","transition":{"reason":"\u0000\n","peer":"::%eth0"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := readRequest(text)
		if err != nil {
			if _, other := errors.AsType[errVersion](err); !other && len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if err := r.judge(); err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		again, err := readRequest(frame(t, r))
		if diff := cmp.Diff(r, again, compareAddr, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%v (-read +written and read again):\n%s", err, diff)
		}
	})
}
