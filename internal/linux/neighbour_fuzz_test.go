package linux

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/vishvananda/netlink"
)

// FuzzParseNeighbour reads what a kernel says of an entry, cut short or with attributes of any length: it is ours only where every part
// of it says so, and its address is one that stands there.
func FuzzParseNeighbour(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 2, 0, 0, 0, 0x80, 0, 0, 1, 8, 0, 1, 0, 224, 0, 0, 18, 5, 0, 12, 0, protocolTag, 0, 0, 0})
	f.Add([]byte{10, 0, 0, 0, 2, 0, 0, 0, 0x80, 0, 0, 1, 7, 0, 1, 0, 255, 2, 0, 0, 4, 0, 12, 0})
	f.Add([]byte{2, 0, 0, 0, 255, 255, 255, 255, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := parseNeighbour(b)
		if len(b) < sizeofNdmsg && n != (neighbour{}) {
			t.Errorf("%x: of %d bytes comes %+v", b, len(b), n)
		}
		if n.ip.IsValid() && !bytes.Contains(b, append(binary.NativeEndian.AppendUint16(nil, netlink.NDA_DST), n.ip.AsSlice()...)) {
			t.Errorf("%x: %s is not there", b, n.ip)
		}
		if tag := binary.NativeEndian.AppendUint16(nil, netlink.NDA_PROTOCOL); n.ours() && !bytes.Contains(b, append(tag, protocolTag)) {
			t.Errorf("%x: it is not tagged as ours", b)
		}
	})
}
