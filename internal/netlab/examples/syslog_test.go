package examples

import (
	"errors"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// syslog is what the programs of a machine have written to /dev/log.
type syslog struct {
	mu   sync.Mutex // guards what follows
	text strings.Builder
}

// listenSyslog takes the place of a machine's syslog until the test's end.
func listenSyslog(t testing.TB, path string) *syslog {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err == nil {
		err = os.Chmod(path, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := new(syslog)
	var reading sync.WaitGroup
	reading.Go(func() {
		line := make([]byte, 8<<10)
		for {
			n, err := conn.Read(line)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			s.mu.Lock()
			s.text.Write(line[:n])
			s.text.WriteByte('\n')
			s.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = conn.Close()
		reading.Wait()
	})
	return s
}

// count is how many matches of a pattern were written.
func (s *syslog) count(pattern string) int {
	return len(regexp.MustCompile(pattern).FindAllString(s.String(), -1))
}

// String is all that was written.
func (s *syslog) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
