package daemon

import (
	"os"
	"path/filepath"
	"testing"
)

// What somebody put where the next file is written, or a process that died left there, is neither followed nor in the way.
func TestReplaceFileFollowsNoLink(t *testing.T) {
	for _, durable := range []bool{false, true} {
		dir := t.TempDir()
		path, other := filepath.Join(dir, "file"), filepath.Join(dir, "other")
		write(t, other, "another's")
		for _, link := range []func(string, string) error{os.Symlink, os.Link} {
			if err := link(other, path+".new"); err != nil {
				t.Fatal(err)
			}
			if err := replaceFile(path, []byte("ours"), 0o640, durable); err != nil {
				t.Fatal(err)
			}
		}
		for file, want := range map[string]string{path: "ours", other: "another's"} {
			if got, err := os.ReadFile(file); err != nil || string(got) != want {
				t.Errorf("durable %t: %s holds %q, %v; want %q", durable, file, got, err, want)
			}
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != 0o640 {
			t.Errorf("durable %t: the file is %v, %v", durable, info.Mode(), err)
		}
	}
}
