package config

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const tcpCheck = "check \"tcp\" \"%s\" {\n  address = \"127.0.0.1:80\"\n}\n"

func checkNamed(name string) string { return strings.ReplaceAll(tcpCheck, "%s", name) }

func TestWhichFilesAreRead(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		paths []string
		want  []string
	}{
		{
			name: "a directory: the main file, then the fragments in lexical order",
			files: map[string]string{
				"understudy.hcl": minimal, "conf.d/a.hcl": "", "checks.d/20-b.hcl": checkNamed("b"), "checks.d/10-a.hcl.json": "{}",
				"checks.d/.hidden.hcl": "broken", "checks.d/b.hcl.dpkg-old": "broken", "checks.d/notes.txt": "broken", "conf.d/x.json": "broken",
			},
			paths: []string{"."},
			want:  []string{"understudy.hcl", "checks.d/10-a.hcl.json", "checks.d/20-b.hcl", "conf.d/a.hcl"},
		},
		{
			name:  "a directory without the main file",
			files: map[string]string{"conf.d/web.hcl": minimal},
			paths: []string{"."}, want: []string{"conf.d/web.hcl"},
		},
		{
			name:  "a directory of fragments",
			files: map[string]string{"b.hcl": minimal, "a.hcl": checkNamed("a")},
			paths: []string{"."}, want: []string{"a.hcl", "b.hcl"},
		},
		{
			name:  "files of any name, in the order given, each once",
			files: map[string]string{"tmp.Xy12": minimal, "a.conf": checkNamed("a")},
			paths: []string{"tmp.Xy12", "a.conf", "./tmp.Xy12"}, want: []string{"tmp.Xy12", "a.conf"},
		},
		{
			name:  "JSON by its name",
			files: map[string]string{"x.json": `{"instance": {"web": {"interface": "eth0", "vrid": 1, "priority": 100, "addresses": ["192.0.2.1"]}}}`},
			paths: []string{"x.json"}, want: []string{"x.json"},
		},
		{
			name:  "JSON in a temporary file, whose name says nothing",
			files: map[string]string{"tmpk3x_1f": "\n " + `{"instance": {"web": {"interface": "eth0", "vrid": 1, "priority": 100, "addresses": ["192.0.2.1"]}}}`},
			paths: []string{"tmpk3x_1f"}, want: []string{"tmpk3x_1f"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(write(t, tt.files))
			_, found := Load(tt.paths, Options{Node: "lb1"})
			if len(found.Findings) > 0 {
				t.Fatalf("Load:\n%s", found.Text())
			}
			var got []string
			for _, s := range found.Sources {
				got = append(got, s.Path)
				if string(s.Bytes) != tt.files[s.Path] {
					t.Errorf("bytes of %s = %q, want %q", s.Path, s.Bytes, tt.files[s.Path])
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sources (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		paths []string
		want  string
	}{
		{"nothing named", nil, nil, "error: no configuration is named; use --config PATH\n"},
		{"a path that does not exist", nil, []string{"nowhere/understudy.hcl"}, "error: nowhere/understudy.hcl does not exist\n"},
		{"an empty directory", nil, []string{"."}, "error: . holds no configuration; looked for understudy.hcl, checks.d/*.hcl, conf.d/*.hcl and *.hcl\n"},
		{"a file that is too large", map[string]string{"a.hcl": strings.Repeat("#", 1<<20+1)}, []string{"a.hcl"}, "error: a.hcl cannot be read: it is larger than 1048576 bytes\n"},
		{
			"operators without end", map[string]string{"a.hcl": "a = " + strings.Repeat("!", 20001)}, []string{"a.hcl"},
			"a.hcl:1:1: error: the file holds 20001 of the characters !-?%, more than 20000\n    1 | a = " + strings.Repeat("!", 156) + " ...\n",
		},
		{
			"a syntax error hides nothing in another file", map[string]string{
				"understudy.hcl": with("checks = [\"elsewhere\"]", "dead_adverts = 300"), "checks.d/a.hcl": "check {", "conf.d/b.hcl": "log {\n  level = \"loud\"\n}",
			}, []string{"."},
			"understudy.hcl:7:16: error: dead_adverts is 300; allowed: 2..100\n    7 | dead_adverts = 300\n" +
				"checks.d/a.hcl:1:7: error: unclosed configuration block; there is no closing brace for this block before the end of the file. This may be caused by incorrect brace nesting elsewhere in this file\n    1 | check {\n" +
				"conf.d/b.hcl:2:11: error: level is \"loud\"; allowed: \"trace\", \"debug\", \"info\", \"warn\", \"error\"\n    2 |   level = \"loud\"\n",
		},
		{
			"a file beside the main file", map[string]string{"understudy.hcl": minimal, "web.hcl": ""}, []string{"."},
			"web.hcl:1:1: warning: this file is not read; move it into conf.d, or name it with --config\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(write(t, tt.files))
			_, found := Load(tt.paths, Options{Node: "lb1"})
			if diff := cmp.Diff(tt.want, found.Text()); diff != "" {
				t.Errorf("Load says (-want +got):\n%s", diff)
			}
		})
	}
}

// A pipe or a device in a directory is passed over: reading it could block for ever.
func TestADirectoryHoldsAPipe(t *testing.T) {
	dir := write(t, map[string]string{"understudy.hcl": minimal, "conf.d/a.hcl": ""})
	if err := unix.Mkfifo(filepath.Join(dir, "conf.d", "pipe.hcl"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, found := Load([]string{dir}, Options{Node: "lb1"})
	if len(found.Findings) > 0 || len(found.Sources) != 2 {
		t.Errorf("Load reads %q, %s; want the two files", found.Sources, found.Text())
	}
}

// asNobody runs f without root's right to read everything.
func asNobody(t *testing.T, dir string, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unix.SetfsuidRetUid(nobody)
	defer unix.SetfsuidRetUid(0)
	f()
}

func TestAFileThatMayNotBeRead(t *testing.T) {
	const longName = "keys-that-nobody-may-look-at/web-1.key" // as long as a key
	dir := write(t, map[string]string{
		"understudy.hcl": with("auth {\n  active = 1\n  key \"1\" {\n    file = \"web.key\"\n  }\n}"), "web.key": "secret",
		"file.hcl": strings.Replace(minimal, `"eth0"`, `trimspace(file("web.key"))`, 1),
		"main.hcl": minimal,
		"deep.hcl": with("auth {\n  active = 1\n  key \"1\" {\n    file = \"" + longName + "\"\n  }\n}"), longName: "secret",
		"call.hcl": strings.Replace(minimal, `"eth0"`, `trimspace(file("`+longName+`"))`, 1),
	})
	for _, name := range []string{"web.key", "main.hcl", filepath.Dir(longName)} {
		if err := os.Chmod(filepath.Join(dir, name), 0o000); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, name), 0o700) })
	}
	key, deep := filepath.Join(dir, "web.key"), filepath.Join(dir, longName)
	tests := []struct {
		name, file string
		want       Finding
	}{
		{"a key is a warning", "understudy.hcl", Finding{
			Severity: Warning, Summary: key + " is not checked: permission denied", Detail: "run validate as a user who may read it",
		}},
		{"what a value needs is a warning", "file.hcl", Finding{
			Severity: Warning, Summary: "interface is not checked: " + key + " may not be read: permission denied", Detail: "run validate as a user who may read it",
		}},
		{"a key where it may not be looked, of which nobody knows that it is none", "deep.hcl", Finding{
			Severity: Warning, Summary: filepath.Join(dir, concealed) + " is not checked: permission denied", Detail: "run validate as a user who may read it",
		}},
		{"what a value needs from there", "call.hcl", Finding{
			Severity: Warning, Summary: "interface is not checked: " + deep + " may not be read: permission denied", Detail: "run validate as a user who may read it",
		}},
		{"the configuration itself is an error", "main.hcl", Finding{
			Severity: Error, Summary: filepath.Join(dir, "main.hcl") + " may not be read: permission denied",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got Report
			asNobody(t, dir, func() {
				got = Validate([]string{filepath.Join(dir, tt.file)}, nil, Options{Node: "lb1", Getenv: noEnvironment})
			})
			for _, f := range got.Findings {
				if f.Severity == tt.want.Severity && f.Summary == tt.want.Summary && f.Detail == tt.want.Detail {
					return
				}
			}
			t.Errorf("Validate says\n%swant %v", got.Text(), tt.want)
		})
	}
	t.Run("what a value needs is an error to run with", func(t *testing.T) {
		asNobody(t, dir, func() {
			_, found := Load([]string{filepath.Join(dir, "file.hcl")}, Options{Node: "lb1"})
			if want := "file: " + key + " may not be read: permission denied"; len(found.Findings) != 1 || found.Findings[0].Summary != want {
				t.Errorf("Load says\n%swant %s", found.Text(), want)
			}
		})
	})
}
