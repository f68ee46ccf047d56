package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// What each shell runs to complete "understudy undrain --for " with the script that is installed for it, and prints what it would
// offer. The arguments are the script's directory and the daemon's. zsh shows what it offers on a terminal only: its _describe is
// replaced by one that prints.
var shells = map[string]struct{ script, want string }{
	"bash": {
		`. "$1/bash/understudy"
COMP_WORDS=(understudy undrain --runtime-dir "$2" --for "") COMP_CWORD=5 COMP_LINE="understudy undrain --runtime-dir $2 --for " COMP_TYPE=63
COMP_POINT=${#COMP_LINE}
_get_comp_words_by_ref() { cur='' prev=--for words=("${COMP_WORDS[@]}") cword=$COMP_CWORD; }
compopt() { :; }
complete -p understudy >/dev/null && __start_understudy && for c in "${COMPREPLY[@]}"; do echo "${c%% *}"; done`,
		"admin\nnginx-stop\n",
	},
	"zsh": {
		`fpath=("$1/zsh" $fpath)
autoload -Uz compinit && compinit -D -u
_describe() { print -l -- $completions }
[[ $_comps[understudy] = _understudy ]] || exit 3
autoload +X _understudy
words=(understudy undrain --runtime-dir "$2" --for "") CURRENT=6
_understudy`,
		"admin:drains this host\nnginx-stop:drains this host\n",
	},
	"fish": {
		`source $argv[1]/fish/understudy.fish; or exit 3
complete --do-complete "understudy undrain --runtime-dir $argv[2] --for "`,
		"admin\tdrains this host\nnginx-stop\tdrains this host\n",
	},
}

// TestShellsComplete loads each script in its shell, which completes what a running daemon knows.
func TestShellsComplete(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if code := run(t.Context(), []string{"manual", dir}, io.Discard, t.Output()); code != exitOK {
		t.Fatalf("exit %d", code)
	}
	program := fmt.Sprintf("#!/bin/sh\n%s=1 exec %q \"$@\"\n", asCommand, self)
	if err := os.WriteFile(filepath.Join(dir, "understudy"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	daemon := reportingDaemon(t, node.Report{Node: &node.Status{Node: "lb1", Drained: []string{"admin", "nginx-stop"}}})
	for shell, does := range shells {
		t.Run(shell, func(t *testing.T) {
			labtest.Require(t, shell)
			argv := map[string][]string{
				"bash": {"--norc", "--noprofile", "-c", does.script, "complete"},
				"zsh":  {"-f", "-c", does.script, "complete"},
				"fish": {"--no-config", "-c", does.script},
			}[shell]
			cmd := exec.CommandContext(t.Context(), shell, append(argv, dir, daemon)...)
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "TERM=dumb")
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != does.want {
				t.Errorf("%v: it offers\n%swant\n%s", err, out, does.want)
			}
		})
	}
}
