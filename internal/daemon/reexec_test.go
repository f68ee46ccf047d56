package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
)

// TestSignalBeforeTheExchange: a signal to stop that came while the loop was sealing its state is not lost with the old program. The
// new one is a file that cannot be executed.
func TestSignalBeforeTheExchange(t *testing.T) {
	program := filepath.Join(t.TempDir(), "understudy")
	if err := os.WriteFile(program, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d := newDaemon(&config.Config{Node: "lb1"}, Options{Log: hclog.NewNullLogger(), Program: program})
	tried, err := d.attempt()
	if err != nil {
		t.Fatal(err)
	}
	var stop context.CancelFunc
	d.stop, stop = context.WithCancel(t.Context())
	defer stop()
	if err := d.become(&sealedState{}, tried, 0); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("without a signal: %v, want that it is executed", err)
	}
	stop()
	if err := d.become(&sealedState{}, tried, 0); !errors.Is(err, errStopping) {
		t.Errorf("after the signal: %v", err)
	}
}

// TestChangedAfterTheTrial: a program is not executed with a configuration other than the one that it was tried with. It may be one
// that it refuses, and then nobody is left to go on.
func TestChangedAfterTheTrial(t *testing.T) {
	const changed = "the configuration was changed while the new program was tried; try again"
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		change func(dir string)
		want   string
	}{
		{"nothing", func(string) {}, ""},
		{"a file is written", func(dir string) { write(filepath.Join(dir, "understudy.hcl"), "nonsense {}") }, changed},
		{"a file is added", func(dir string) { write(filepath.Join(dir, "etc", "conf.d", "more.hcl"), "") }, changed},
		{"a file is gone", func(dir string) { _ = os.Remove(filepath.Join(dir, "understudy.hcl")) }, changed},
		{"a file that it reads is written", func(dir string) { write(filepath.Join(dir, "elsewhere"), "eth3") }, changed},
		{"a key is replaced", func(dir string) {
			write(filepath.Join(dir, "key.new"), "12345678")
			_ = os.Rename(filepath.Join(dir, "key.new"), filepath.Join(dir, "key"))
		}, changed},
		{"the program is replaced", func(dir string) { _ = os.Remove(filepath.Join(dir, "understudy")) }, "the new program was replaced while it was tried; try again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			etc := filepath.Join(dir, "etc")
			if err := os.MkdirAll(filepath.Join(etc, "conf.d"), 0o755); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"understudy", "understudy.hcl", "elsewhere", "key", "etc/understudy.hcl"} {
				write(filepath.Join(dir, name), name)
			}
			d := newDaemon(&config.Config{
				Node: "lb1", Files: []string{filepath.Join(dir, "elsewhere"), filepath.Join(dir, "key")},
			}, Options{Log: hclog.NewNullLogger(), Program: filepath.Join(dir, "understudy"), Paths: []string{etc, filepath.Join(dir, "understudy.hcl")}})
			tried, err := d.attempt()
			if err != nil {
				t.Fatal(err)
			}
			tt.change(dir)
			got := ""
			if err := tried.changed(d.attempt()); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
