package pairtest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// endAtOnce is the race detector's setting for daemons and commands: else each of them would sleep for a second before it ends.
const endAtOnce = "atexit_sleep_ms=0"

// The environment variables that name a daemon that is there already: as it is shipped, and with the race detector.
const shipped, raced = "UNDERSTUDY", "UNDERSTUDY_RACE"

// Build builds the daemon for tests, with the race detector where they have it, and returns the way to it and what removes it.
// Without root, which its hosts need, it builds nothing.
func Build(race bool) (program string, remove func(), err error) {
	ready := shipped
	if race {
		ready = raced
	}
	if program = os.Getenv(ready); program != "" || os.Geteuid() != 0 {
		return program, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "understudy-pairtest-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	program = filepath.Join(dir, "understudy")
	args := []string{"build", "-buildvcs=false", "-o", program}
	var env []string
	if race {
		args = append(args, "-race")
	} else { // as it is shipped; what make build has compiled is there already
		args, env = append(args, "-trimpath"), append(os.Environ(), "CGO_ENABLED=0")
	}
	cmd := exec.Command("go", append(args, "github.com/understudy-ha/understudy/cmd/understudy")...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		remove()
		return "", nil, fmt.Errorf("build the daemon: %w\n%s", err, out)
	}
	return program, remove, nil
}

// Main runs the tests of a package, so many labs at a time on any machine: their hosts mostly wait, and they measure time. program
// is the daemon that it builds for them. It returns the exit status.
func Main(m *testing.M, race bool, labsAtOnce int, program *string) int {
	flag.Parse()
	path, remove, err := Build(race)
	if err == nil {
		defer remove()
		err = errors.Join(flag.Set("test.parallel", strconv.Itoa(labsAtOnce)), os.Setenv("GORACE", endAtOnce))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*program = path
	return m.Run()
}
