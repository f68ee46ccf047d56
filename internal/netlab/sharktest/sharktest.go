// Package sharktest lets tshark judge frames in tests, without a network.
package sharktest

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// linkEthernet is the link type of whole Ethernet frames in a pcap file.
const linkEthernet = 1

// Judge returns what tshark says of each Ethernet frame: the fields' values with a bar between them, one that a frame does not have
// being empty. preferences are tshark's, such as "ip.check_checksum:TRUE". Without tshark it skips the test, or fails it where CI is
// set.
func Judge(t testing.TB, frames [][]byte, preferences, fields []string) []string {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("tshark is missing, and CI is set; .ci/setup test installs it")
		}
		t.Skip("needs tshark")
	}
	file := filepath.Join(t.TempDir(), "frames.pcap")
	if err := os.WriteFile(file, capture(frames), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-r", file, "-T", "fields", "-E", "separator=|"}
	for _, p := range preferences {
		args = append(args, "-o", p)
	}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.CommandContext(t.Context(), tshark, args...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(frames) {
		t.Fatalf("tshark saw %d frames of %d:\n%s", len(lines), len(frames), out)
	}
	return lines
}

// capture is a pcap file, version 2.4.
func capture(frames [][]byte) []byte {
	var b bytes.Buffer
	words := func(list ...uint32) {
		for _, w := range list {
			b.Write(binary.LittleEndian.AppendUint32(nil, w))
		}
	}
	words(0xa1b2c3d4, 2|4<<16, 0, 0, 65535, linkEthernet)
	for _, f := range frames {
		words(0, 0, uint32(len(f)), uint32(len(f)))
		b.Write(f)
	}
	return b.Bytes()
}
