package examples

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

// buildBound is how long the build of an image may take, where nothing of the program is built yet.
const buildBound = 5 * time.Minute

// step is an instruction of a Containerfile.
type step struct{ word, rest string }

// stage is the steps from one FROM to the next.
type stage struct {
	name, from string
	steps      []step
}

// parseContainerfile reads a Containerfile and refuses what a builder would, as far as the examples go.
func parseContainerfile(text string) ([]stage, error) {
	var stages []stage
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		if word == "FROM" {
			s := stage{from: rest}
			if fields := strings.Fields(rest); len(fields) == 3 && fields[1] == "AS" {
				s.from, s.name = fields[0], fields[2]
			} else if len(fields) != 1 {
				return nil, fmt.Errorf("FROM %s: want an image, and AS with a name", rest)
			}
			stages = append(stages, s)
			continue
		}
		if len(stages) == 0 {
			return nil, fmt.Errorf("%s comes before FROM", word)
		}
		last := &stages[len(stages)-1]
		if err := judgeStep(word, rest, stages[:len(stages)-1]); err != nil {
			return nil, err
		}
		last.steps = append(last.steps, step{word, rest})
	}
	return stages, nil
}

func judgeStep(word, rest string, before []stage) error {
	switch word {
	case "WORKDIR", "ARG", "RUN":
		if rest == "" {
			return fmt.Errorf("%s needs something", word)
		}
	case "COPY":
		fields := strings.Fields(rest)
		from, isStage := "", false
		if len(fields) > 0 {
			from, isStage = strings.CutPrefix(fields[0], "--from=")
		}
		switch {
		case isStage && !slices.ContainsFunc(before, func(s stage) bool { return s.name == from }):
			return fmt.Errorf("COPY %s: there is no stage %q before", rest, from)
		case isStage && len(fields) != 3, !isStage && len(fields) != 2:
			return fmt.Errorf("COPY %s: want what and where to", rest)
		}
	case "ENTRYPOINT", "CMD":
		if _, err := words(rest); err != nil {
			return fmt.Errorf("%s %s: want a JSON list, so that no shell stands between: %w", word, rest, err)
		}
	default:
		return fmt.Errorf("%s is no instruction that an example needs", word)
	}
	return nil
}

func words(list string) (argv []string, err error) {
	err = json.Unmarshal([]byte(list), &argv)
	return argv, err
}

// the is what the stage says last with a word.
func (s stage) the(word string) string {
	for _, step := range slices.Backward(s.steps) {
		if step.word == word {
			return step.rest
		}
	}
	return ""
}

// build does what the first stage says, with this repository as the context and this machine's Go, and returns its file system.
func (s stage) build(t testing.TB, h *netlab.Host, root string) {
	t.Helper()
	goenv := func(name string) string {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	context, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if copies := s.the("COPY"); copies != ". ." {
		t.Fatalf("the first stage copies %q, want the whole context", copies)
	}
	c := container{
		Root: root, Host: "build", Dir: s.the("WORKDIR"),
		Mounts: []containerMount{
			{"/usr", "/usr", true}, {context, s.the("WORKDIR"), true}, {"/dev/null", "/dev/null", false},
			{goenv("GOMODCACHE"), "/go/pkg/mod", false}, {goenv("GOCACHE"), "/root/.cache/go-build", false}, {goenv("GOROOT"), "/usr/local/go", true},
		},
		Argv: []string{"/usr/bin/sh", "-ec", s.the("RUN")},
		Env: []string{
			"PATH=/usr/local/go/bin:/usr/sbin:/usr/bin", "HOME=/root", "GOPATH=/go", "GOPROXY=off", "GOTOOLCHAIN=local", s.the("ARG"),
		},
	}
	for _, dir := range []string{"tmp", "lib", "lib64"} {
		if to, err := os.Readlink("/" + dir); err == nil {
			err = os.Symlink(to, filepath.Join(root, dir))
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	running := c.start(t, h)
	select {
	case <-running.Done():
	case <-time.After(buildBound):
		t.Fatalf("the build takes longer than %v", buildBound)
	}
	if err := running.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// assemble does what the last stage copies, which needs no program of its own.
func (s stage) assemble(t testing.TB, built, root string) {
	t.Helper()
	if s.from != "scratch" {
		t.Fatalf("the image is made from %q, want scratch", s.from)
	}
	for _, step := range s.steps {
		if step.word != "COPY" {
			continue
		}
		fields := strings.Fields(step.rest)
		text, err := os.ReadFile(filepath.Join(built, fields[1]))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(root, fields[2])
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := writeWhole(to, string(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestContainerfilesThatNoBuilderTakes(t *testing.T) {
	for _, text := range []string{
		"RUN true\n", "FROM a b\n", "FROM a\nRUN\n", "FROM a\nCOPY --from=b /x /y\n", "FROM a AS b\nFROM c\nCOPY --from=b /x\n",
		"FROM a\nENTRYPOINT run\n", "FROM a\nENTRYPIONT [\"/run\"]\n", "FROM a\nCOPY x\n",
	} {
		if stages, err := parseContainerfile(text); err == nil {
			t.Errorf("%q is parsed as %+v", text, stages)
		}
	}
}
