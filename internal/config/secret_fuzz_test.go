package config

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/vrrp"
)

// FuzzSecrets reads files with a key and a password that somebody made: a secret is what the file's one line says, and of what is
// none no message shows more than how long it is and whether it is hex.
func FuzzSecrets(f *testing.F) {
	for _, text := range []string{
		"", "\n", "secret\n", "secret78\r\n", "secret789", "two\nlines", keyText, "hex:" + strings.Repeat("0f", vrrp.MinKeyLen) + "\n",
		"hex:", "hex:0", "hex:xy", "hex:" + strings.Repeat("0", 2*vrrp.MaxKeyLen+2), strings.Repeat("k", vrrp.MaxKeyLen), strings.Repeat("k", maxSecretBytes+1),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(commandtest.Dir(t), "secret")
		read := func(content []byte) (key, password vrrp.Secret, said string) {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			key, keyErr := readKey(path, "")
			password, passwordErr := readPassword(path, "")
			return key, password, fmt.Sprint(keyErr, "\n", passwordErr)
		}
		key, password, said := read(content)
		line := bytes.TrimRight(content, "\r\n")
		if !password.Empty() {
			if want, err := vrrp.NewPassword(string(line)); err != nil || !password.Equal(want) {
				t.Fatalf("%q is taken for another password", content)
			}
		}
		if !key.Empty() {
			want := line
			if digits, ok := bytes.CutPrefix(line, hexPrefix); ok {
				want, _ = hex.DecodeString(string(digits))
			}
			if len(want) < vrrp.MinKeyLen || len(want) > vrrp.MaxKeyLen || !key.Equal(vrrp.NewSecret(want)) {
				t.Fatalf("%q is taken for another key", content)
			}
		}
		if _, _, masked := read(another(content)); said != masked {
			t.Fatalf("what is said depends on the secret:\n%s\nand of another one:\n%s", said, masked)
		}
	})
}

// another is another secret of the same kind.
func another(content []byte) []byte {
	rest, isHex := bytes.CutPrefix(content, hexPrefix)
	var other []byte
	if isHex {
		other = append(other, hexPrefix...)
	}
	for _, b := range rest {
		switch {
		case b == '\r' || b == '\n':
			other = append(other, b)
		case bytes.IndexByte([]byte("0123456789abcdefABCDEF"), b) >= 0:
			other = append(other, '0')
		default:
			other = append(other, 'z')
		}
	}
	return other
}
