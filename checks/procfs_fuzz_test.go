package checks

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// FuzzProcess looks for a program, in whichever way a check does, where one process has a name and a title that its user chose: what is
// found is it, and only where the kernel says that it is the one, alive, and no thread of another.
func FuzzProcess(f *testing.F) {
	const pid = 4194401 // above what Linux gives out
	stat := strconv.Itoa(pid) + " (nginx) S" + statRest
	f.Add([]byte(stat), []byte("Name:\tnginx\nTgid:\t4194401\n"), []byte("nginx: master process /usr/sbin/nginx\x00"), []byte("4194401\n"))
	f.Add([]byte(stat), []byte("Tgid:\t4194400\n"), []byte("nginx: worker process\x00\x00\x00"), []byte("4194401"))
	f.Add([]byte("4194401 (nginx) Z"+statRest), []byte("Tgid:\n"), []byte("nginx: pool www\x00"), []byte(" 4194401 x"))
	f.Add([]byte("1 (nginx) S"+statRest), []byte("Tgid:\t4194401"), []byte(""), []byte("1"))
	f.Add([]byte(""), []byte(""), []byte("\x00 \x00"), []byte(""))
	f.Fuzz(func(t *testing.T, stat, status, cmdline, file []byte) {
		root := t.TempDir()
		dir, path := filepath.Join(root, strconv.Itoa(pid)), filepath.Join(root, "nginx.pid")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string][]byte{filepath.Join(dir, "stat"): stat, filepath.Join(dir, "status"): status, filepath.Join(dir, "cmdline"): cmdline, path: file} {
			if err := os.WriteFile(name, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p, err := parseStat(stat)
		alive := err == nil && !p.ended()
		check := func(how string, locate func() (process, string, error), may bool) {
			first, word, err := locate()
			if err != nil {
				return
			}
			if !may || !alive || first != p || word != fmt.Sprintf("pid %d runs", p.pid) {
				t.Errorf("%s finds %+v, %q in %q, %q, %q", how, first, word, stat, status, cmdline)
			}
			if again, _, err := locate(); err != nil || again != first {
				t.Errorf("%s finds %+v, then %+v, error %v", how, first, again, err)
			}
		}
		check("its name", (&byName{name: "nginx", root: root}).locate, p.comm == "nginx")
		line := strings.TrimRight(strings.ReplaceAll(string(cmdline), "\x00", " "), " ")
		check("its command line", (&byCommandLine{re: regexp.MustCompile(""), root: root}).locate, line != "")
		number, err := parsePID(string(file[:min(len(file), maxPIDFile)]))
		check("its pid file", (&pidFile{path: path, root: root}).locate, err == nil && number == pid && !isThread(root, pid))
	})
}
