package vrrp

import "testing"

// TestMeans: by what an advert proves its sender, and whether that is what this host has, whatever its time is.
func TestMeans(t *testing.T) {
	password := func(text string) *Auth {
		secret, err := NewPassword(text)
		if err != nil {
			t.Fatal(err)
		}
		return &Auth{Password: secret}
	}
	other := keyed(Enforce)
	other.Keys = []Key{{ID: 1, Secret: NewSecret(otherBytes)}}
	receiving := keyed(ReceiveOnly)
	tests := []struct {
		name        string
		there, here *Auth
		means       Means
		knows       bool
	}{
		{"nothing", nil, keyed(Enforce), Means{}, false},
		{"nothing, as one who receives only", receiving, keyed(Enforce), Means{}, false},
		{"a key", keyed(Enforce), keyed(Enforce), Means{Key: 1}, true},
		{"a key, to one who receives only", keyed(Enforce), receiving, Means{Key: 1}, true},
		{"a key of another secret", keyed(Enforce), other, Means{Key: 1}, false},
		{"a key, to one without", keyed(Enforce), nil, Means{Key: 1}, false},
		{"a key, to one with a password", keyed(Enforce), password("moving"), Means{Key: 1}, false},
		{"a password", password("moving"), password("moving"), Means{Password: true}, true},
		{"another password", password("moving"), password("movin"), Means{Password: true}, false},
		{"a password, to one with a key", password("moving"), keyed(Enforce), Means{Password: true}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var a Authenticator
			advert := sealedVectors()[0].advert
			advert.Version = V2
			r, err := Parse(signed(t, &a, tt.there, clock, advert, signer4, GroupIPv4), signer4, GroupIPv4, HopLimit)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Means(); got != tt.means || tt.there.Means() != tt.means {
				t.Errorf("means %+v, configured %+v, want %+v", got, tt.there.Means(), tt.means)
			}
			if got := tt.here.Knows(r); got != tt.knows {
				t.Errorf("known: %t, want %t", got, tt.knows)
			}
		})
	}
}
