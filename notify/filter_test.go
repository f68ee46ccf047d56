package notify

import "testing"

func TestWhomAHookIsFor(t *testing.T) {
	instance := Transition{Instance: "web", MemberOf: "edge", State: Master}
	other := Transition{Instance: "lab", State: Master}
	group := Transition{Group: true, Instance: "edge", MemberOf: "edge", State: Master}
	tests := []struct {
		name                   string
		hook                   Hook
		instance, other, group bool
	}{
		{"all, where nothing is named", Hook{}, true, true, true},
		{"instances", Hook{Settings: Settings{Instances: []string{"web"}}}, true, false, false},
		{"groups", Hook{Settings: Settings{Groups: []string{"edge"}}}, false, false, true},
		{"both", Hook{Settings: Settings{Groups: []string{"edge"}, Instances: []string{"lab"}}}, false, true, true},
		{"a group's name is no instance's", Hook{Settings: Settings{Instances: []string{"edge"}}}, false, false, false},
		{"one run for the whole host needs no group", Hook{PerHost: true}, true, true, false},
		{"unless it is named", Hook{PerHost: true, Settings: Settings{Groups: []string{"edge"}}}, false, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.hook.Settings.On = []State{Master}
			for _, x := range []struct {
				t    Transition
				want bool
			}{{instance, tt.instance}, {other, tt.other}, {group, tt.group}} {
				if got := tt.hook.wants(x.t); got != x.want {
					t.Errorf("wants %+v: %v, want %v", x.t, got, x.want)
				}
			}
		})
	}
}
