package main

import (
	"bytes"
	"io"
	"testing"
)

// TestInstalledExample: what the packages bring as an example of a configuration is one, also for who is strict.
func TestInstalledExample(t *testing.T) {
	var out bytes.Buffer
	if code := run(t.Context(), []string{"validate", "--strict", "--node", "lb1", "--node", "lb2", "../../packaging/etc/understudy.hcl.example"}, &out, io.Discard); code != exitOK {
		t.Errorf("exit %d:\n%s", code, &out)
	}
}
