package main

import (
	stdlog "log"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/understudy-ha/understudy/internal/config"
)

// TestLibrariesLogWithoutWaiting: what net/http says of a server, it says while it holds a connection's lock.
func TestLibrariesLogWithoutWaiting(t *testing.T) {
	flags := stdlog.Flags()
	defer func() { stdlog.SetFlags(flags); stdlog.SetOutput(os.Stderr) }()
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		w := newLogWriter(g)
		takeLibraryLog(newLog(w, config.Log{Level: "info", Format: "json"}))
		for range 2 * logQueue {
			stdlog.Print("http: Accept error: too many open files; retrying in 5ms")
		}
		stdlog.Print(unsolicited + ` starting with "SSH"; err=<nil>`)
		close(g.open)
		w.close()
		got := g.text.String()
		if strings.Contains(got, unsolicited) || !strings.Contains(got, `"@level":"warn","@message":"http: Accept error: too many open files; retrying in 5ms","@module":"understudy.go"`) {
			t.Errorf("logged: %.300s", got)
		}
	})
}
