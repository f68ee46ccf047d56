package command

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCleanedEnvironment(t *testing.T) {
	tests := []struct {
		name     string
		in, want []string
	}{
		{
			name: "what is meant for the daemon stays with it",
			in: []string{"HOME=/root", "LD_PRELOAD=x", "LD_LIBRARY_PATH=y", "NOTIFY_SOCKET=@z", "WATCHDOG_PID=1", "WATCHDOG_USEC=2",
				"LISTEN_FDS=1", "LISTEN_PID=2", "LISTEN_FDNAMES=a", "PATH=/bin", "LISTENER=mine"},
			want: []string{"HOME=/root", "PATH=/bin", "LISTENER=mine"},
		},
		{name: "a PATH is added", in: []string{"A=b"}, want: []string{"A=b", "PATH=" + defaultPath}},
		{name: "an empty PATH is none", in: []string{"PATH="}, want: []string{"PATH=", "PATH=" + defaultPath}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, cleaned(tt.in)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
