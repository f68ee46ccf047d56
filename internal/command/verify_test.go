package command_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/command"
	"github.com/understudy-ha/understudy/internal/command/commandtest"
)

func TestVerifyTellsWhatIsKnownBeforehand(t *testing.T) {
	dir := commandtest.Dir(t)
	good := commandtest.Script(t, dir, "good", "true")
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	tests := []struct {
		name string
		spec command.Spec
		want string // "" for none
	}{
		{name: "a good one", spec: command.Spec{Argv: []string{good, "-w", "5"}}},
		{name: "one in PATH", spec: command.Spec{Argv: []string{"sh"}}},
		{name: "the PATH of its own environment", spec: command.Spec{Argv: []string{"good"}, Env: []string{"PATH=" + dir}}},
		{name: "no argv", want: "the command is empty"},
		{name: "an empty name", spec: command.Spec{Argv: []string{""}}, want: "the command is empty"},
		{name: "no such file", spec: command.Spec{Argv: []string{missing}}, want: missing + ": no such file or directory"},
		{name: "a directory", spec: command.Spec{Argv: []string{dir}}, want: dir + ": is a directory, not a program"},
		{name: "a device", spec: command.Spec{Argv: []string{"/dev/null"}}, want: "/dev/null: is not a regular file"},
		{
			name: "not executable", spec: command.Spec{Argv: []string{plain}},
			want: plain + ": is not executable (mode 0644); chmod +x " + plain,
		},
		{
			name: "a relative path", spec: command.Spec{Argv: []string{"./good"}},
			want: "./good: a relative path; write an absolute path, or a name to look up in PATH",
		},
		{
			name: "nowhere in PATH", spec: command.Spec{Argv: []string{"good"}, Env: []string{"PATH=/usr/bin::."}},
			want: "good: no such program in PATH (/usr/bin::.); write its absolute path",
		},
		{
			name: "no PATH means the usual one", spec: command.Spec{Argv: []string{"understudy-no-such"}, Env: []string{}},
			want: "understudy-no-such: no such program in PATH (/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin); write its absolute path",
		},
		{
			name: "an unknown user", spec: command.Spec{Argv: []string{good}, User: "no-such-user"},
			want: `user "no-such-user" does not exist on this host`,
		},
		{
			name: "an unknown uid", spec: command.Spec{Argv: []string{good}, User: "3999999999"},
			want: `user "3999999999" does not exist on this host`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := command.Verify(tt.spec); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVerifyRefusesWhatSomebodyElseCouldReplace(t *testing.T) {
	chmod := func(t *testing.T, path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		make func(t *testing.T, dir string) (path string)
		want string // DIR stands for the directory; "" for none
	}{
		{
			name: "a file that everybody may write",
			make: func(t *testing.T, dir string) string {
				path := commandtest.Script(t, dir, "s", "true")
				chmod(t, path, 0o757)
				return path
			},
			want: "DIR/s is unsafe to run: everybody may write to DIR/s (mode 0757); chmod o-w DIR/s",
		},
		{
			name: "a file that its group may write",
			make: func(t *testing.T, dir string) string {
				path := commandtest.Script(t, dir, "s", "true")
				chmod(t, path, 0o775)
				return path
			},
			want: "DIR/s is unsafe to run: group GROUP may write to DIR/s (mode 0775); chmod g-w DIR/s",
		},
		{
			name: "a directory above that everybody may write",
			make: func(t *testing.T, dir string) string {
				chmod(t, dir, 0o777)
				return commandtest.Script(t, dir, "s", "true")
			},
			want: "DIR/s is unsafe to run: everybody may write to DIR (mode 0777); chmod go-w DIR",
		},
		{
			name: "a sticky directory",
			make: func(t *testing.T, dir string) string {
				if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
					t.Fatal(err)
				}
				return commandtest.Script(t, dir, "s", "true")
			},
			want: "DIR/s is unsafe to run: everybody may write to DIR (mode 1777); keep it where only root can write, such as /etc/understudy",
		},
		{
			name: "a link into an unsafe directory",
			make: func(t *testing.T, dir string) string {
				unsafe := filepath.Join(dir, "unsafe")
				if err := os.Mkdir(unsafe, 0o755); err != nil {
					t.Fatal(err)
				}
				commandtest.Script(t, unsafe, "real", "true")
				chmod(t, unsafe, 0o757)
				path := filepath.Join(dir, "link")
				if err := os.Symlink("unsafe/../unsafe/real", path); err != nil {
					t.Fatal(err)
				}
				return path
			},
			want: "DIR/link is unsafe to run: everybody may write to DIR/unsafe (mode 0757); chmod o-w DIR/unsafe",
		},
		{
			name: "a link that lies in an unsafe directory itself",
			make: func(t *testing.T, dir string) string {
				unsafe := filepath.Join(dir, "unsafe")
				if err := os.Mkdir(unsafe, 0o755); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(unsafe, "link")
				if err := os.Symlink(commandtest.Script(t, dir, "real", "true"), path); err != nil {
					t.Fatal(err)
				}
				chmod(t, unsafe, 0o757)
				return path
			},
			want: "DIR/unsafe/link is unsafe to run: everybody may write to DIR/unsafe (mode 0757); chmod o-w DIR/unsafe",
		},
		{
			name: "a safe link is followed",
			make: func(t *testing.T, dir string) string {
				path := filepath.Join(dir, "link")
				if err := os.Symlink(commandtest.Script(t, dir, "real", "true"), path); err != nil {
					t.Fatal(err)
				}
				return path
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := commandtest.Dir(t)
			spec := command.Spec{Argv: []string{tt.make(t, dir)}}
			want := strings.NewReplacer("DIR", dir, "GROUP", ownGroup(t, dir)).Replace(tt.want)
			check := func(what string, err error) {
				got := ""
				if err != nil {
					got = err.Error()
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
			check("Verify", command.Verify(spec))
			_, err := command.Run(t.Context(), spec)
			check("Run", err)
		})
	}
}

// TestVerifyJudgesALinkThatIsNotFollowed: where fs.protected_symlinks is 1 root may not look at what another user's link in a sticky directory
// leads to; a link to where this thread may not look stands for one where it is 0.
func TestVerifyJudgesALinkThatIsNotFollowed(t *testing.T) {
	needRoot(t)
	const nobody = 65534
	dir, hidden := commandtest.Dir(t), commandtest.Dir(t)
	link := filepath.Join(dir, "link")
	err := errors.Join(os.Symlink(commandtest.Script(t, hidden, "real", "true"), link), os.Lchown(link, nobody, -1),
		os.Chmod(dir, 0o777|os.ModeSticky), os.Chmod(hidden, 0o700))
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unix.SetfsuidRetUid(nobody)
	defer unix.SetfsuidRetUid(0)
	want := fmt.Sprintf("%s is unsafe to run: everybody may write to %s (mode 1777); keep it where only root can write, such as /etc/understudy", link, dir)
	for _, argv := range [][]string{{link}, {"sh", link}} {
		if diff := cmp.Diff(want, fmt.Sprint(command.Verify(command.Spec{Argv: argv}))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", argv, diff)
		}
	}
	if err := command.Verify(command.Spec{Argv: []string{"cat", link}}); err != nil {
		t.Errorf("what is merely read: %v", err)
	}
}

func ownGroup(t *testing.T, dir string) string {
	t.Helper()
	out, err := command.Run(t.Context(), command.Spec{Argv: []string{"stat", "-c", "%G", dir}})
	if err != nil {
		t.Fatal(err)
	}
	return out.LastLine()
}

func TestVerifyJudgesOwnersByTheUserThatRunsIt(t *testing.T) {
	needRoot(t)
	const nobody = 65534
	dir := commandtest.Dir(t)
	path := commandtest.Script(t, dir, "s", "true")
	if err := os.Chown(path, nobody, -1); err != nil {
		t.Fatal(err)
	}
	if err := command.Verify(command.Spec{Argv: []string{path}, User: "nobody"}); err != nil {
		t.Errorf("nobody's own script as nobody: %v", err)
	}
	want := fmt.Sprintf("%s is unsafe to run: %s (mode 0755) belongs to nobody, who is neither root nor the user that runs it (root); chown root %s",
		path, path, path)
	if diff := cmp.Diff(want, fmt.Sprint(command.Verify(command.Spec{Argv: []string{path}}))); diff != "" {
		t.Errorf("nobody's script as root (-want +got):\n%s", diff)
	}
}
