package machines

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	// configFile is the installed configuration.
	configFile = "/etc/understudy/understudy.hcl"
	// examplesDir is where the package has the examples.
	examplesDir = "/usr/share/doc/understudy/examples"
	// readme is the page whose lines are run.
	readme = "../../../README.md"
)

// installed installs the package as the README says, on machines where nothing is configured, and asserts that nothing happens.
func installed(t *testing.T, p *pair, d deb) {
	for _, s := range p.servers() {
		if err := s.Copy(d.path, filepath.Join(packageRoom, d.name())); err != nil {
			t.Fatal(err)
		}
		const listens = "ss --no-header --listening --numeric --tcp --udp --raw | sort"
		before := s.do(t, listens)
		for _, line := range installLines(t) {
			s.do(t, "cd "+packageRoom+" && "+line)
		}
		s.prints(t, "dpkg-query --show --showformat='${Version} ${Status}' understudy", d.version+" install ok installed")
		unconfigured(t, s)
		if after := s.do(t, listens); after != before {
			t.Errorf("%s listens on\n%sbefore the installation\n%s", s.Name(), after, before)
		}
		s.prints(t, "dpkg --verify understudy", "")
		s.again(t)
		unconfigured(t, s)
	}
}

// unconfigured asserts that the daemon waits for a configuration without a word.
func unconfigured(t *testing.T, s *server) {
	t.Helper()
	s.quiet(t)
	s.prints(t, "systemctl is-system-running", "running")
	s.prints(t, "systemctl is-enabled understudy.service understudy-nginx.service", "enabled\nenabled")
	s.prints(t, "systemctl is-active understudy.service || true", "inactive")
	s.prints(t, "systemctl is-active nginx.service", "active")
	s.do(t, "systemctl start understudy.service") // a condition that does not hold is no error
	s.prints(t, "systemctl show --property=ActiveState,ConditionResult,Result --value understudy.service", "success\ninactive\nno")
	s.prints(t, "pgrep --exact understudy || true", "")
}

// installLines are the lines of the README that install the package on Debian.
func installLines(t *testing.T) []string {
	t.Helper()
	lines := slices.DeleteFunc(readmeBlock(t, "Install", "sh"), func(line string) bool { return !strings.Contains(line, ".deb") })
	if len(lines) == 0 {
		t.Fatal("no line of the README installs a .deb")
	}
	return lines
}

// readmeBlock are the lines of the first block of a language below a heading of the README.
func readmeBlock(t *testing.T, heading, language string) []string {
	t.Helper()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading)
	_, section, opened := strings.Cut(section, "\n```"+language+"\n")
	block, _, closed := strings.Cut(section, "\n```")
	if !found || !opened || !closed {
		t.Fatalf("the README has no %s below %q", language, heading)
	}
	return strings.Split(block, "\n")
}

// documented asserts that every manual page that the package has is found by man, and that the shells complete.
func documented(t *testing.T, s *server) {
	s.do(t, "man -w understudy && man -w understudy.hcl")
	pages := strings.Fields(s.do(t, "dpkg -L understudy | grep '^/usr/share/man/man./'"))
	if len(pages) < 3 {
		t.Errorf("the package has only these manual pages: %q", pages)
	}
	for _, page := range pages {
		name, section, _ := strings.Cut(strings.TrimSuffix(filepath.Base(page), ".gz"), "."+filepath.Base(filepath.Dir(page))[3:])
		s.prints(t, "man -w "+filepath.Base(filepath.Dir(page))[3:]+section+" "+name, page)
		if out := s.do(t, "man --warnings "+page+" 2>&1 >/dev/null"); out != "" {
			t.Errorf("man of %s: %s", page, out)
		}
	}
	s.do(t, "bash -c '. /usr/share/bash-completion/bash_completion && . /usr/share/bash-completion/completions/understudy && complete -p understudy'")
	s.do(t, "test -s /usr/share/zsh/vendor-completions/_understudy && test -s /usr/share/fish/vendor_completions.d/understudy.fish")
	if out := s.do(t, "understudy __complete dr"); !strings.Contains(out, "drain") {
		t.Errorf("the shells are told %q for dr", out)
	}
}

// configured does what the README's quick start says, on the second host first.
func configured(t *testing.T, p *pair) {
	for _, s := range p.servers() {
		s.do(t, "cp "+examplesDir+"/pair/nginx-healthz.conf /etc/nginx/conf.d/ && nginx -t -q && systemctl reload nginx")
		s.do(t, "install -D --mode=755 "+examplesDir+"/pair/tell /etc/understudy/notify.d/tell")
		observe(t, s)
	}
	start(t, p.lb2)
	p.Only(t, "lb2", settleBound)
	drain := ""
	p.moves(t, "lb1", func() { drain = start(t, p.lb1) })
	p.settled(t)
	for _, s := range p.servers() {
		s.quiet(t)
		s.prints(t, "systemctl is-active understudy.service understudy-nginx.service", "active\nactive")
		s.prints(t, "stat --format='%a %U:%G' /etc/understudy", "750 root:understudy")
	}
	p.lb1.prints(t, "understudy status web >/dev/null; echo $?", "0")
	p.lb2.prints(t, "understudy status web >/dev/null; echo $?", "3")
	p.away(t, func() { p.lb1.do(t, drain) })
	p.home(t, func() { p.lb1.do(t, "understudy undrain") })
}

// start runs the lines of the README's quick start, but the last one, which needs somebody to take over: it returns it.
func start(t *testing.T, s *server) (drain string) {
	t.Helper()
	for _, line := range readmeBlock(t, "Quick start", "sh") {
		switch {
		case strings.HasPrefix(line, "understudy drain"):
			drain = line
		case strings.HasPrefix(line, "cp "):
			s.do(t, line)
			s.do(t, "understudy validate --node lb1 --node lb2") // the example as it is
			if err := s.Write(configFile, strings.Join(readmeBlock(t, "Quick start", "hcl"), "\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			s.do(t, line)
		}
	}
	if drain == "" {
		t.Fatal("the README's quick start does not drain")
	}
	return drain
}

// rights is a script that says with what rights it runs. The shell reads them itself: to start other programs takes long on a
// busy machine.
const rights = `#!/bin/sh
while read -r key value rest; do
	case "$key" in Uid: | Gid: | Groups: | Cap*) printf '%s%s ' "$key" "$value" ;; esac
done </proc/self/status
echo
`

// observe adds a hook and two checks that say with what rights they run.
func observe(t *testing.T, s *server) {
	t.Helper()
	for path, text := range map[string]string{
		hookPath:                                 rights + "echo $2 $3 >>" + toldPath + "\n",
		"/usr/local/lib/understudy-tests/rights": rights,
		"/etc/understudy/conf.d/rights.hcl": `
notify "script" "rights" {
  on      = ["master", "backup", "fault", "stop"]
  command = ["` + hookPath + `"]
}
notify "script" "tell" {
  on      = ["master", "backup"]
  command = ["/etc/understudy/notify.d/tell"]
}
check "script" "daemon" {
  command  = ["/usr/local/lib/understudy-tests/rights"]
  interval = "2s"
  timeout  = "2s"
}
check "script" "nobody" {
  command  = ["/usr/local/lib/understudy-tests/rights"]
  user     = "nobody"
  interval = "2s"
  timeout  = "2s"
}
`,
	} {
		mode := os.FileMode(0o755)
		if filepath.Ext(path) == ".hcl" {
			mode = 0o644
		}
		if err := s.Write(path, text, mode); err != nil {
			t.Fatal(err)
		}
	}
}
