package main

import (
	stdlog "log"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// unsolicited begins what net/http says of a server that speaks before it is asked. The check that asked fails, and says why.
const unsolicited = "Unsolicited response received on idle HTTP channel"

// libraryLog is where Go's own libraries log. They do while they hold locks: on their own way to standard error they would wait for whoever
// reads it, and a check with them.
type libraryLog struct{ hclog.Logger }

// takeLibraryLog has them log here from now on.
func takeLibraryLog(log hclog.Logger) {
	stdlog.SetFlags(0)
	stdlog.SetOutput(libraryLog{log.Named("go")})
}

// Write takes a whole record.
func (l libraryLog) Write(p []byte) (int, error) {
	level := hclog.Warn
	if strings.HasPrefix(string(p), unsolicited) {
		level = hclog.Debug
	}
	l.Log(level, strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}
