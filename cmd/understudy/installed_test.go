package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestInstalledExample: what the packages bring as an example of a configuration is one, also for who is strict.
func TestInstalledExample(t *testing.T) {
	var out bytes.Buffer
	if code := run(t.Context(), []string{"validate", "--strict", "--node", "lb1", "--node", "lb2", "../../packaging/etc/understudy.hcl.example"}, &out, io.Discard); code != exitOK {
		t.Errorf("exit %d:\n%s", code, &out)
	}
}

// TestInstalledCommands: the units and the maintainer scripts call commands with options that exist.
func TestInstalledCommands(t *testing.T) {
	call := regexp.MustCompile(`(?m)(?:/usr/bin/understudy|/proc/self/fd/3|timeout [0-9]+ understudy) ([a-z][^|>;\n]*)`)
	var called []string
	for _, pattern := range []string{"systemd/*", "deb/p*", "rpm/*"} {
		files, err := filepath.Glob("../../packaging/" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range call.FindAllSubmatch(text, -1) {
				args := slices.DeleteFunc(strings.Fields(string(found[1])), func(arg string) bool { return strings.HasPrefix(arg, "$") })
				cmd, rest, err := rootCommand().Find(args)
				if err == nil {
					err = cmd.ParseFlags(rest)
				}
				if err == nil {
					err = cmd.ValidateArgs(cmd.Flags().Args())
				}
				if err != nil || !cmd.HasParent() {
					t.Errorf("%s calls %q: %v", file, args, err)
				}
				called = append(called, cmd.Name())
			}
		}
	}
	for _, name := range []string{"run", "reload", "cleanup", "helper", "drain", "undrain", "reexec", "version"} {
		if !slices.Contains(called, name) {
			t.Errorf("%s is called nowhere", name)
		}
	}
}
