package node

import (
	"testing"
	"time"
)

// TestPeersHeard: what is heard in one family says nothing of where a peer is in the other; any instance does.
func TestPeersHeard(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	router := func(family string, peers ...PeerStatus) RouterStatus {
		return RouterStatus{Family: family, Peers: peers}
	}
	s := &Status{Instances: []InstanceStatus{
		{Routers: []RouterStatus{
			router("IPv4", PeerStatus{Name: "both", Heard: at(10)}, PeerStatus{Name: "moved"}, PeerStatus{Name: "four", Heard: at(7)}, PeerStatus{Name: "silent"}),
			router("IPv6", PeerStatus{Name: "both", Heard: at(9)}, PeerStatus{Name: "moved", Heard: at(10)}),
		}},
		{Routers: []RouterStatus{
			router("IPv4", PeerStatus{Name: "both", Heard: at(3)}, PeerStatus{Name: "four", Heard: at(8)}),
			router("IPv6", PeerStatus{Name: "both", Heard: at(12)}),
		}},
	}}
	got := s.PeersHeard()
	for name, want := range map[string]time.Time{"both": at(10), "moved": {}, "four": at(8), "silent": {}} {
		if !got[name].Equal(want) {
			t.Errorf("%s was heard at %v, want %v", name, got[name], want)
		}
	}
}
