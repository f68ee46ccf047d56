package checks

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
)

// ProcessOptions are the options of a process check; exactly one of them is set.
type ProcessOptions struct {
	PIDFile string `hcl:"pid_file,optional" doc:"File that holds the process's id. nginx's upgrade by USR2 is understood."`
	Name    string `hcl:"name,optional" doc:"The program's name, of which the kernel keeps 15 bytes; a master process, not its workers."`
	Cmdline string `hcl:"cmdline,optional" doc:"Regular expression (RE2) for the command line, its words joined by spaces."`
}

var (
	_ Options  = (*ProcessOptions)(nil)
	_ Examiner = (*processChecker)(nil)
	_ Watcher  = (*processChecker)(nil)
)

func newProcessOptions() Options {
	o := new(ProcessOptions)
	SetDefaults(o)
	return o
}

// Validate names every impossible value.
func (o *ProcessOptions) Validate() []OptionError {
	set := 0
	for _, s := range []string{o.PIDFile, o.Name, o.Cmdline} {
		if s != "" {
			set++
		}
	}
	var errs []OptionError
	if set != 1 {
		errs = append(errs, OptionError{"", fmt.Sprintf("needs exactly one of pid_file, name and cmdline; %d are set", set)})
	}
	if o.PIDFile != "" && !filepath.IsAbs(o.PIDFile) {
		errs = append(errs, OptionError{"pid_file", fmt.Sprintf("%q is not an absolute path", o.PIDFile)})
	}
	if strings.ContainsAny(o.Name, "/ ") {
		errs = append(errs, OptionError{"name", fmt.Sprintf("%q is not a program's name, such as \"nginx\"; for paths and arguments use cmdline", o.Name)})
	}
	return append(errs, validateRegexp("cmdline", o.Cmdline)...)
}

// New makes the Checker.
func (o *ProcessOptions) New() (Checker, error) {
	c := &processChecker{root: "/proc", found: make(chan process, 1)}
	switch {
	case o.PIDFile != "":
		c.pidFile = filepath.Clean(o.PIDFile) // as events name it
		c.locate = (&pidFile{path: c.pidFile, root: c.root}).locate
	case o.Name != "":
		c.locate = (&byName{name: o.Name, root: c.root}).locate
	default:
		re, err := regexp.Compile(o.Cmdline)
		if err != nil {
			return nil, fmt.Errorf("cmdline: %w", err)
		}
		c.locate = (&byCommandLine{re: re, root: c.root}).locate
	}
	return c, nil
}

// processChecker looks for a process, and watches the one that it found.
type processChecker struct {
	root    string
	pidFile string // "" when sought by other means
	// locate finds the process and says in a word how it is. It is called by one run at a time.
	locate func() (process, string, error)
	last   process // of the last run that passed
	// found holds the process that was last found, until Watch takes it.
	found chan process
	// blind is why the pid file is not watched, nil if it is.
	blind atomic.Pointer[string]
}

// cheap says that a run reads a file or two, and not all of /proc.
func (c *processChecker) cheap() bool { return c.pidFile != "" }

// Check looks once.
func (c *processChecker) Check(ctx context.Context) error {
	_, err := c.Examine(ctx)
	return err
}

// Examine looks once and says which process it found.
func (c *processChecker) Examine(context.Context) (Finding, error) {
	p, word, err := c.locate()
	if err != nil {
		return Finding{}, c.explain(err)
	}
	c.last = p
	select { // only the latest is of interest
	case <-c.found:
	default:
	}
	c.found <- p
	f := Finding{Word: word, Output: fmt.Sprintf("%s: %s", p, commandLine(c.root, p.pid))}
	if blind := c.blind.Load(); blind != nil {
		f.Word += " (its pid file is not watched: " + *blind + ")"
	}
	return f, nil
}

// explain names the process that was there before, if it is gone.
func (c *processChecker) explain(err error) error {
	if c.last.pid == 0 {
		return err
	}
	now, readErr := readProcess(c.root, c.last.pid)
	if readErr == nil && now.same(c.last) || readErr != nil && !errors.Is(readErr, errNotRunning) {
		return err
	}
	return fmt.Errorf("process %s exited; %w", c.last, err)
}
