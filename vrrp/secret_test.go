package vrrp

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestSecretsDoNotShow, whatever prints what they are part of.
func TestSecretsDoNotShow(t *testing.T) {
	const text = "xyzzy-xyzzy-xyzzy-xyzzy-xyzzy-xyzzy"
	secret := NewSecret([]byte(text))
	auth := &Auth{Active: 1, Keys: []Key{{ID: 1, Secret: secret}}, Password: secret}
	inside := struct {
		hidden Secret // fmt asks it no method
		Auth   *Auth
		Value  Auth
		Router Config
		Advert Advert
	}{secret, auth, *auth, Config{Auth: auth}, Advert{Password: secret}}
	var shown strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b", "%o"} {
		for _, v := range []any{secret, &secret, *auth, auth.Keys, inside, &inside, []any{secret, inside}, map[string]Secret{"a": secret}} {
			fmt.Fprintf(&shown, verb+"\n", v)
		}
	}
	for _, v := range []any{secret, auth, inside} {
		b, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		shown.Write(b)
	}
	fmt.Fprintln(&shown, secret, auth, inside, errors.New("x"), secret.String(), secret.GoString())
	all := strings.ToLower(shown.String())
	for _, form := range []string{text, hex.EncodeToString([]byte(text)), "120 121 122", fmt.Sprintf("%08b", []byte(text[:3])), "170 171 172", "0x78, 0x79"} {
		if strings.Contains(all, strings.Trim(form, "[]")) {
			t.Errorf("%q is shown in:\n%s", form, all)
		}
	}
	var back Auth
	b, err := json.Marshal(auth)
	if err == nil {
		err = json.Unmarshal(b, &back)
	}
	if err != nil || !back.Keys[0].Secret.Empty() || !back.Password.Empty() {
		t.Errorf("read back as %v, error %v", back, err)
	}
}

// TestSecretsCompare as a reload compares configurations.
func TestSecretsCompare(t *testing.T) {
	a, b, c := NewSecret([]byte("one")), NewSecret([]byte("one")), NewSecret([]byte("two"))
	if !reflect.DeepEqual(a, b) || reflect.DeepEqual(a, c) || !a.Equal(b) || a.Equal(c) || a.Equal(Secret{}) {
		t.Error("secrets are compared wrongly")
	}
}
