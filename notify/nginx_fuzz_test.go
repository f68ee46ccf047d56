package notify

import (
	"errors"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/command"
)

// FuzzReason reads what nginx, or whatever is called so, says of why it does not reload: the reason is one line of it, and never hides
// how the program ended.
func FuzzReason(f *testing.F) {
	for _, output := range []string{
		"", "\n", "nginx: [emerg] unknown directive \"retrun\" in /etc/nginx/nginx.conf:5\nnginx: configuration file test failed\n",
		"2026/01/01 00:00:00 [alert] 812#812: kill(812, 1) failed (3: No such process)\n", "[error]", "[crit] \n[emerg] x",
		"nginx: [error] open() \"/run/nginx.pid\" failed (2: No such file or directory)\n", "\x1b[31m[alert] \r\x00\n", "  \t\n \n",
		"nginx: [error] invalid PID number \"\" in \"/run/nginx.pid\"\n",
	} {
		f.Add(output)
	}
	ended := errors.New("exit status 1")
	f.Fuzz(func(t *testing.T, output string) {
		err := withReason(ended, command.Outcome{Output: output})
		said, ok := strings.CutPrefix(err.Error(), ended.Error())
		if !ok || !errors.Is(err, ended) || strings.Contains(said, "\n") {
			t.Errorf("%q: %q", output, err)
		}
		said = strings.TrimPrefix(strings.TrimPrefix(said, ": "), "nginx: ")
		level, rest, _ := strings.Cut(said, " ")
		if !strings.Contains(output, level) || !strings.Contains(output, rest) {
			t.Errorf("%q is not what it said: %q", said, output)
		}
	})
}
