package labtest

import "testing"

func TestVersion(t *testing.T) {
	const (
		keepalived = "Keepalived v2.2.7 (01/16,2022)\n\nCopyright(C) 2001-2022 Alexandre Cassen"
		frr        = "vrrpd version 8.4.4\nCopyright 1996-2005 Kunihiro Ishiguro, et al."
	)
	for _, tt := range []struct {
		text, want string
		other      string
	}{
		{keepalived, "2.2.7", ""},
		{frr, "8.4", ""},
		{frr, "8.4.4", ""},
		{"Keepalived v2.2.70", "2.2.7",
			"it is 2.2.70 here, and what the tests and the README say of it was found out about 2.2.7: look whether it still holds, and change the version that is wanted"},
		{"vrrpd version 10.1", "8.4",
			"it is 10.1 here, and what the tests and the README say of it was found out about 8.4: look whether it still holds, and change the version that is wanted"},
		{"vrrpd version 8.40", "8.4",
			"it is 8.40 here, and what the tests and the README say of it was found out about 8.4: look whether it still holds, and change the version that is wanted"},
	} {
		if got := otherVersion("it", versionIn(tt.text), tt.want); got != tt.other {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.other)
		}
	}
	if got := versionIn("usage: it has 1 option"); got != "" {
		t.Errorf("got %q from a text without a version", got)
	}
}
