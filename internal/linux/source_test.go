package linux

import "testing"

func TestHasSource(t *testing.T) {
	tests := []struct {
		name, ifName string
		v6, want     bool
	}{
		{"loopback has an IPv4 address", "lo", false, true},
		{"loopback has no link-local IPv6 address", "lo", true, false},
		{"an interface that does not exist may come with one", "understudy-none", true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := HasSource(tt.ifName, tt.v6)
			if err != nil || got != tt.want {
				t.Errorf("HasSource(%q, %t) = %t, %v; want %t", tt.ifName, tt.v6, got, err, tt.want)
			}
		})
	}
}
