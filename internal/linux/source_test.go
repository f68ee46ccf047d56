package linux

import (
	"net/netip"
	"testing"
)

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

func TestHasAddress(t *testing.T) {
	tests := []struct {
		name, ifName, ip string
		want             bool
	}{
		{"loopback has its address", "lo", "127.0.0.1", true},
		{"loopback has no other", "lo", "192.0.2.1", false},
		{"an interface that does not exist may come with it", "understudy-none", "192.0.2.1", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := HasAddress(tt.ifName, netip.MustParseAddr(tt.ip))
			if err != nil || got != tt.want {
				t.Errorf("HasAddress(%q, %s) = %t, %v; want %t", tt.ifName, tt.ip, got, err, tt.want)
			}
		})
	}
}
