// Package command runs programs that an administrator configured: health checks, hooks, nginx itself. It is written once
// because every caller needs the same care: a program that hangs, forks, floods its output or may be replaced by
// somebody else must harm nothing but its own result.
package command

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// MaxOutput is how much of a command's combined output is kept, in bytes: its last 4 KiB.
const MaxOutput = 4096

// Spec says what to run.
type Spec struct {
	// Argv is the program, an absolute path or a name to look up in PATH, and its arguments.
	Argv []string
	// Env is the complete environment; nil means Environment().
	Env []string
	// User is a name or a numeric uid; "" means the daemon's own user.
	User string
	// OnlyRoot wants a program that nobody but root can replace, not even User: what asks for the run is trusted less than
	// the user that it would run as.
	OnlyRoot bool
}

// Outcome is what is known of a command after it ran.
type Outcome struct {
	// Output is the last MaxOutput bytes of stdout and stderr: valid UTF-8 without control characters but newline and tab.
	Output string
	// Took is the time from the start to the end of the command.
	Took time.Duration
}

// LastLine is the last line of the output that is not blank, without surrounding space; "" if there is none.
func (o Outcome) LastLine() string {
	s := strings.TrimSpace(o.Output)
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}

// Verify tells what can be known before a command runs: an empty argv, no such file, a directory, a file that is not
// executable, an unknown user, and permissions that let somebody else decide what runs: of the program, and as root of each
// argument that is a script. Run makes the same checks.
func Verify(s Spec) error {
	_, err := prepare(s)
	return err
}

// prepared is a Spec whose program and user were found and judged.
type prepared struct {
	path string // absolute
	env  []string
	cred *syscall.Credential // nil: our own
}

func prepare(s Spec) (prepared, error) {
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return prepared{}, errors.New("the command is empty")
	}
	p := prepared{env: s.Env}
	if p.env == nil {
		p.env = Environment()
	}
	acc, err := lookUpAccount(s.User)
	if err != nil {
		return prepared{}, err
	}
	p.cred = acc.cred
	if p.path, err = find(s.Argv[0], p.env); err != nil {
		return prepared{}, cmp.Or(unfollowed(s.Argv[0], writersOf(s, acc), err), err)
	}
	return p, judge(p.path, s, acc)
}

// judge refuses a program that somebody else could replace, and as root also a script among the arguments: what decides what runs. A
// file that is merely read, such as one whose presence a check looks for, may be anybody's.
func judge(program string, s Spec, acc account) error {
	w := writersOf(s, acc)
	if err := checkPermissions(program, w); err != nil || acc.uid != 0 {
		return err
	}
	runsFiles := interpreter.MatchString(filepath.Base(program))
	for _, arg := range s.Argv[1:] {
		if !filepath.IsAbs(arg) {
			continue
		}
		info, err := os.Stat(arg)
		if why := unfollowed(arg, w, err); why != nil && runsFiles {
			return why
		}
		if err != nil || !info.Mode().IsRegular() || !runsFiles && info.Mode()&0o111 == 0 {
			continue
		}
		if err := checkPermissions(arg, w); err != nil {
			return err
		}
	}
	return nil
}

// interpreter matches the programs that run a file which they are given, whether or not it is executable: shells and the like, and those
// that start another program.
var interpreter = regexp.MustCompile(`^((ba|da|a|k|mk|z|fi|tc|c)?sh|busybox|python|pypy|perl|ruby|php|node|nodejs|lua|luajit|tclsh|guile|[gmn]?awk|make|` +
	`env|timeout|nice|ionice|chrt|taskset|setsid|nohup|stdbuf|flock|xargs|sudo|su|runuser|setpriv|chroot|unshare|nsenter|ip|systemd-run)[0-9.]*$`)

// find gives the absolute path of a program, which exists and has an execute bit. Whether the user may execute it, the
// kernel decides: mode bits do not show access control lists.
func find(name string, env []string) (string, error) {
	if filepath.IsAbs(name) {
		return name, executable(name)
	}
	if strings.Contains(name, "/") {
		return "", fmt.Errorf("%s: a relative path; write an absolute path, or a name to look up in PATH", name)
	}
	path := searchPath(env)
	for dir := range strings.SplitSeq(path, ":") {
		// An empty or relative entry means the working directory, which is nothing to trust.
		if candidate := filepath.Join(dir, name); filepath.IsAbs(candidate) && executable(candidate) == nil {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("%s: no such program in PATH (%s); write its absolute path", name, path)
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case info.IsDir():
		return fmt.Errorf("%s: is a directory, not a program", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: is not a regular file", path)
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s: is not executable (mode %04o); chmod +x %s", path, info.Mode().Perm(), path)
	}
	return nil
}
