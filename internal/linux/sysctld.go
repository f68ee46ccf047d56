package linux

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	// sysctlConf is read by sysctl --system after all others; at boot only where a file in one of sysctlDirs is a link to it, as Debian
	// has it.
	sysctlConf = "/etc/sysctl.conf"
	// sysctlOwn is where an administrator is to write our settings; sysctlLast is where a package's file of a later name would undo that.
	sysctlOwn  = "60-understudy.conf"
	sysctlLast = "zz-understudy.conf"
)

// sysctlDirs are the directories of sysctl.d(5): their files are read in the order of their names, and of two with one name that in the
// first directory alone.
var sysctlDirs = []string{"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"}

// sysctlRoot is what these paths are below.
var sysctlRoot = "/"

// sysctlLine is a line of such a file.
type sysctlLine struct {
	file  string // without links
	base  string // by which it is sorted
	line  int
	key   string // in slashes
	value string
}

// SysctlRemedy says what an administrator is to do so that the kernel has settings, now and after a boot. A line is as sysctl.d(5) has it.
// Of the lines for a setting the last one counts: where a file has one that would undo a new one in ours, it is named.
func SysctlRemedy(lines ...string) string {
	var steps, done []string
	own := map[string][]string{}
	for _, text := range lines {
		want, _ := parseSysctl(text)
		against, already := sysctlsAgainst(want)
		for _, l := range against {
			switch {
			case !strings.HasPrefix(l.file, "/etc/") && l.base < sysctlLast: // it is a package's
				own[sysctlLast] = append(own[sysctlLast], strconv.Quote(text))
			case l.key == want.key:
				steps = append(steps, fmt.Sprintf("change line %d of %s to %q", l.line, l.file, text))
			default:
				steps = append(steps, fmt.Sprintf("put %q below line %d of %s", text, l.line, l.file))
			}
		}
		switch {
		case len(against) > 0:
		case already != nil:
			done = append(done, fmt.Sprintf("line %d of %s is %q already", already.line, already.file, text))
		default:
			own[sysctlOwn] = append(own[sysctlOwn], strconv.Quote(text))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		steps = append(steps, fmt.Sprintf("put %s into /etc/sysctl.d/%s", strings.Join(own[name], " and "), name))
	}
	if len(steps) == 0 {
		return "run sysctl --system: " + strings.Join(done, ", ")
	}
	return strings.Join(steps, ", ") + " and run sysctl --system"
}

// sysctlsAgainst finds the lines that would undo one in our file, at boot or with sysctl --system, or the line that says the same already.
func sysctlsAgainst(want sysctlLine) (against []sysctlLine, already *sysctlLine) {
	boot := lastSysctl(bootSysctls(), want)
	if boot != nil && boot.value == want.value {
		already = boot
	}
	for _, l := range []*sysctlLine{boot, lastSysctl(map[string]string{filepath.Base(sysctlConf): sysctlConf}, want)} {
		if l == nil || l.value == want.value || l.base < sysctlOwn {
			continue
		}
		if !slices.ContainsFunc(against, func(o sysctlLine) bool { return o.file == l.file && o.line == l.line }) {
			against = append(against, *l)
		}
	}
	return against, already
}

// bootSysctls are the files that are read at boot, by the names that sort them.
func bootSysctls() map[string]string {
	files := map[string]string{}
	for _, dir := range slices.Backward(sysctlDirs) {
		entries, _ := os.ReadDir(filepath.Join(sysctlRoot, dir)) // what is not there, or not for this user, says nothing
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".conf") {
				files[e.Name()] = filepath.Join(dir, e.Name())
			}
		}
	}
	return files
}

// lastSysctl finds the last line of files, by the names that sort them, that sets what another one does; nil for none.
func lastSysctl(files map[string]string, like sysctlLine) (last *sysctlLine) {
	for _, base := range slices.Sorted(maps.Keys(files)) {
		path, err := filepath.EvalSymlinks(filepath.Join(sysctlRoot, files[base]))
		if err != nil {
			continue
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue // a link to /dev/null hides a file
		}
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		n := 0
		for s := range strings.Lines(string(text)) {
			n++
			if l, ok := parseSysctl(s); ok && l.sets(like) {
				l.file, l.base, l.line = filepath.Join("/", strings.TrimPrefix(path, sysctlRoot)), base, n
				last = &l
			}
		}
	}
	return last
}

// parseSysctl reads a line. One with a pattern counts for what has no line of its own, and so never against one.
func parseSysctl(text string) (l sysctlLine, ok bool) {
	text = strings.TrimSpace(text)
	key, value, ok := strings.Cut(text, "=")
	if !ok || strings.HasPrefix(text, "#") || strings.HasPrefix(text, ";") {
		return l, false
	}
	key = strings.TrimSpace(strings.TrimPrefix(key, "-"))
	if k := strings.IndexAny(key, "./"); k >= 0 && key[k] == '.' {
		key = strings.NewReplacer(".", "/", "/", ".").Replace(key) // whichever comes first parts it; the other is in an interface's name
	}
	return sysctlLine{key: key, value: strings.TrimSpace(value)}, true
}

// sets says whether a line sets the same as another one, or more: switching IPv6 off for all interfaces does so for each.
func (l sysctlLine) sets(like sysctlLine) bool {
	const everywhere = "net/ipv6/conf/all/disable_ipv6"
	return l.key == like.key || l.key == everywhere && strings.HasPrefix(like.key, "net/ipv6/conf/") && strings.HasSuffix(like.key, "/disable_ipv6")
}
