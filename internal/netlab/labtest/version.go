package labtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab"
)

// versions are those of the programs that were asked, each once: labs that measure milliseconds run meanwhile.
var versions sync.Map // program -> func() (string, error)

// Version holds that a program of another make is the one that the tests tell of: want is its version, or how that begins. With the
// environment variable CI set another one fails the test; else it is logged, where a test that fails shows it.
func Version(t testing.TB, program, want string) {
	t.Helper()
	ask, _ := versions.LoadOrStore(program, sync.OnceValues(func() (string, error) { return askVersion(program) }))
	got, err := ask.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	switch why := otherVersion(program, got, want); {
	case why != "" && os.Getenv("CI") != "":
		t.Fatal(why)
	case why != "":
		t.Log(why)
	}
}

// askVersion runs a program to tell its version.
func askVersion(program string) (string, error) {
	path, err := netlab.Find(program)
	if err != nil {
		return "", err
	}
	out, err := exec.Command(path, "--version").CombinedOutput()
	version := versionIn(string(out))
	if err == nil && version == "" {
		err = errors.New("it tells none")
	}
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w: %s", program, err, out)
	}
	return version, nil
}

// numbers match a version.
var numbers = regexp.MustCompile(`\d+(\.\d+)+`)

// versionIn is the first version in a text.
func versionIn(text string) string { return numbers.FindString(text) }

// otherVersion says that the version of a program is not the one that is told of; empty if it is.
func otherVersion(program, got, want string) string {
	if strings.HasPrefix(got+".", want+".") {
		return ""
	}
	return fmt.Sprintf("%s is %s here, and what the tests and the README say of it was found out about %s: look whether it still holds, and change the version that is wanted",
		program, got, want)
}
