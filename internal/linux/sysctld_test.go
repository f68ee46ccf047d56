package linux

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the tests compare does not depend on what this machine's files say.
func init() { sysctlRoot = "/nonexistent" }

// sampleConf is the part of Debian's /etc/sysctl.conf that somebody has followed.
const sampleConf = "# Uncomment the next two lines to enable Spoof protection (reverse-path filter)\nnet.ipv4.conf.default.rp_filter=1\nnet.ipv4.conf.all.rp_filter=1\n"

const (
	loose     = "net.ipv4.conf.all.rp_filter = 2"
	noIPv6    = "net.ipv6.conf.all.disable_ipv6 = 1\n"
	withIPv6s = "net.ipv6.conf.v0.disable_ipv6 = 0"
)

// sysctlCases are hosts: their files, what is wanted, and what is said.
var sysctlCases = []struct {
	name  string
	files map[string]string // "-> X" is a link
	lines []string
	want  string
}{
	{"no file says anything", nil, []string{loose}, `put "` + loose + `" into /etc/sysctl.d/60-understudy.conf and run sysctl --system`},
	{"Debian's /etc/sysctl.conf", map[string]string{"etc/sysctl.conf": sampleConf, "etc/sysctl.d/99-sysctl.conf": "-> ../sysctl.conf"}, []string{loose},
		`change line 3 of /etc/sysctl.conf to "` + loose + `" and run sysctl --system`},
	{"it is read at no boot", map[string]string{"etc/sysctl.conf": sampleConf}, []string{loose},
		`change line 3 of /etc/sysctl.conf to "` + loose + `" and run sysctl --system`},
	{"it was followed, and the kernel does not know yet", map[string]string{"etc/sysctl.d/60-understudy.conf": "\n" + loose + "\n"}, []string{loose},
		`run sysctl --system: line 2 of /etc/sysctl.d/60-understudy.conf is "` + loose + `" already`},
	{"it was followed, and is undone", map[string]string{
		"etc/sysctl.d/60-understudy.conf": loose + "\n", "etc/sysctl.conf": sampleConf, "etc/sysctl.d/99-sysctl.conf": "-> ../sysctl.conf",
	}, []string{loose}, `change line 3 of /etc/sysctl.conf to "` + loose + `" and run sysctl --system`},
	{"a file before ours", map[string]string{"etc/sysctl.d/10-network-security.conf": "net.ipv4.conf.all.rp_filter=1\n"}, []string{loose},
		`put "` + loose + `" into /etc/sysctl.d/60-understudy.conf and run sysctl --system`},
	{"boot and sysctl --system end with another file", map[string]string{
		"etc/sysctl.conf": sampleConf, "etc/sysctl.d/99-zz.conf": "- net/ipv4/conf/all/rp_filter = 1", "etc/sysctl.d/99-sysctl.conf": "-> ../sysctl.conf",
	}, []string{loose}, `change line 1 of /etc/sysctl.d/99-zz.conf to "` + loose + `", change line 3 of /etc/sysctl.conf to "` + loose + `" and run sysctl --system`},
	{"a package's file", map[string]string{"usr/lib/sysctl.d/90-hardening.conf": sampleConf}, []string{loose},
		`put "` + loose + `" into /etc/sysctl.d/zz-understudy.conf and run sysctl --system`},
	{"a package's file that is hidden by another", map[string]string{"usr/lib/sysctl.d/90-hardening.conf": sampleConf, "etc/sysctl.d/90-hardening.conf": "-> /dev/null"}, []string{loose},
		`put "` + loose + `" into /etc/sysctl.d/60-understudy.conf and run sysctl --system`},
	{"what is no line for it", map[string]string{"etc/sysctl.d/99-x.conf": "#net.ipv4.conf.all.rp_filter=1\n;net.ipv4.conf.all.rp_filter=1\n-net.ipv4.conf.all.rp_filter\nnet.ipv4.conf.*.rp_filter=1\n"},
		[]string{loose}, `put "` + loose + `" into /etc/sysctl.d/60-understudy.conf and run sysctl --system`},
	{"IPv6 is off everywhere", map[string]string{"etc/sysctl.conf": noIPv6, "etc/sysctl.d/99-sysctl.conf": "-> ../sysctl.conf"}, []string{withIPv6s},
		`put "` + withIPv6s + `" below line 1 of /etc/sysctl.conf and run sysctl --system`},
	{"two settings", nil, []string{loose, withIPv6s}, `put "` + loose + `" and "` + withIPv6s + `" into /etc/sysctl.d/60-understudy.conf and run sysctl --system`},
	{"two settings, one of which is undone", map[string]string{"etc/sysctl.conf": sampleConf}, []string{loose, withIPv6s},
		`change line 3 of /etc/sysctl.conf to "` + loose + `", put "` + withIPv6s + `" into /etc/sysctl.d/60-understudy.conf and run sysctl --system`},
}

// withFiles makes the files of a host below a new directory, and has SysctlRemedy read them.
func withFiles(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = must(filepath.EvalSymlinks(t.TempDir()))
	must(0, os.MkdirAll(filepath.Join(root, "etc/sysctl.d"), 0o755))
	for name, text := range files {
		path := filepath.Join(root, name)
		must(0, os.MkdirAll(filepath.Dir(path), 0o755))
		if target, link := strings.CutPrefix(text, "-> "); link {
			must(0, os.Symlink(target, path))
		} else {
			must(0, os.WriteFile(path, []byte(text), 0o644))
		}
	}
	was := sysctlRoot
	sysctlRoot = root
	t.Cleanup(func() { sysctlRoot = was })
	return root
}

func TestSysctlRemedy(t *testing.T) {
	for _, tt := range sysctlCases {
		t.Run(tt.name, func(t *testing.T) {
			withFiles(t, tt.files)
			if got := SysctlRemedy(tt.lines...); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestSysctlRemedyHelps has what reads a host's files read them, on a host that somebody did what he was told to do: sysctl --system makes
// of a bad value the one that is wanted, and after a boot there is no bad one.
func TestSysctlRemedyHelps(t *testing.T) {
	needRoot(t, "sysctl", "unshare")
	const boot = "/lib/systemd/systemd-sysctl"
	for _, tt := range sysctlCases {
		t.Run(tt.name, func(t *testing.T) {
			root := withFiles(t, tt.files)
			h := newHost(t)
			h.run("ip link add v0 type veth peer name v1")
			do(t, root, SysctlRemedy(tt.lines...))
			for reader, first := range map[string]string{"sysctl --system": "1", boot: "0"} {
				if _, err := os.Stat(boot); err != nil && reader == boot {
					continue // no systemd here
				}
				h.sysctl("ipv4/conf/all/rp_filter", first)
				h.sysctl("ipv6/conf/v0/disable_ipv6", first)
				readSysctls(t, root, reader)
				for _, text := range tt.lines {
					want, _ := parseSysctl(text)
					if got := strings.TrimSpace(string(must(os.ReadFile("/proc/sys/" + want.key)))); got != want.value && (reader != boot || got != "0") {
						t.Errorf("%s is %s after %s, want %s", want.key, got, reader, want.value)
					}
				}
			}
		})
	}
}

// steps are what a remedy can tell one to do.
var steps = regexp.MustCompile(`(?:change line (\d+) of (\S+) to "(.*?)"|put "([^"]*)" below line (\d+) of (\S+)|put ("[^"]*"(?: and "[^"]*")*) into (\S+))(?:, | and run sysctl --system$)`)

// do does what a remedy says.
func do(t *testing.T, root, remedy string) {
	t.Helper()
	for _, m := range steps.FindAllStringSubmatch(remedy, -1) {
		var script string
		switch {
		case m[1] != "":
			script = "sed -i '" + m[1] + "c" + m[3] + "' " + root + m[2]
		case m[4] != "":
			script = "sed -i '" + m[5] + "a" + m[4] + "' " + root + m[6]
		default:
			script = "printf '%s\\n' " + strings.ReplaceAll(m[7], " and ", " ") + " >> " + root + m[8]
		}
		if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
	}
}

// readSysctls has a program read the files below root. The machine's own are hidden from it: they are for all of the machine.
func readSysctls(t *testing.T, root, reader string) {
	t.Helper()
	const script = `set -e
for dir in /etc /run /usr/local /usr/lib/sysctl.d /lib/sysctl.d; do [ ! -d $dir ] || mount -t tmpfs none $dir; done
cp -a $1/etc/. /etc
[ ! -d $1/usr/lib/sysctl.d ] || cp -a $1/usr/lib/sysctl.d/. /usr/lib/sysctl.d
`
	if out, err := exec.Command("unshare", "--mount", "sh", "-c", script+reader, "sh", root).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", reader, err, out)
	}
}
