package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/checks"
)

// Commands are the checks and hooks of a configuration, each evaluated by itself when it is asked for: a mistake in another
// block, a key that only the daemon's user may read, keeps none from running.
type Commands struct {
	files  *files
	base   loader
	blocks hcl.Blocks
}

// LoadCommands reads the files and directories. trust is asked about each, and its first refusal is the error: whoever
// could write one part decides what all of it does.
func LoadCommands(paths []string, o Options, trust func(path string) error) (*Commands, error) {
	name, err := o.node()
	if err != nil {
		return nil, err
	}
	c := &Commands{files: readTrusted(paths, trust)}
	if c.files.untrusted != nil {
		return nil, c.files.untrusted
	}
	content, _ := hcl.MergeFiles(c.files.bodies).Content(topLevel)
	c.blocks = content.Blocks
	c.base = loader{files: c.files, node: name, getenv: o.getenv(), complete: true}
	return c, nil
}

// Node is the node's name.
func (c *Commands) Node() string { return c.base.node }

// Log is the log block; where it has mistakes, the defaults.
func (c *Commands) Log() Log {
	l, settings := c.loader(), new(Config)
	l.settings(settings, c.blocks.OfType("log"))
	if l.found.broken() {
		return DefaultLog()
	}
	return settings.Log
}

// DefaultLog is the log without a log block.
func DefaultLog() Log {
	var raw rawLog
	checks.SetDefaults(&raw)
	return Log(raw)
}

// Hook finds a hook by its name.
func (c *Commands) Hook(name string) (h Hook, err error) {
	err = c.one("notify", name, func(l *loader, b *hcl.Block) {
		found, _ := l.hook(b)
		h = found.Hook
	})
	return h, err
}

// Check finds a check by its name.
func (c *Commands) Check(name string) (k Check, err error) {
	err = c.one("check", name, func(l *loader, b *hcl.Block) {
		found, _ := l.check(b)
		k = found.Check
	})
	return k, err
}

// Unread says that a file cannot be read or parsed, so that it is not known what it names.
func (c *Commands) Unread() error {
	if c.files.broken {
		return errors.New(c.text(c.files.found))
	}
	return nil
}

// Names lists the names of a type's blocks, each once, in the order of the configuration.
func (c *Commands) Names(what string) (names []string) {
	seen := map[string]bool{}
	for _, b := range c.blocks.OfType(what) {
		if name := b.Labels[len(b.Labels)-1]; !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// Lacks says that there is no block of a type by a name. Where a file cannot be read there may be one.
func (c *Commands) Lacks(what, name string) error {
	known := c.Names(what)
	if c.files.broken || slices.Contains(known, name) {
		return nil
	}
	return c.missing(what, name, known)
}

// missing is the error of a name that no block has.
func (c *Commands) missing(what, name string, known []string) error {
	return fmt.Errorf("the configuration of this host has no %s named %q%s", what, name, didYouMean(name, known))
}

// one evaluates the block of a type that has a name.
func (c *Commands) one(what, name string, decode func(*loader, *hcl.Block)) error {
	l, taken, known := c.loader(), map[string]hcl.Range{}, []string(nil)
	var block *hcl.Block
	for _, b := range c.blocks.OfType(what) {
		label := b.Labels[len(b.Labels)-1]
		known = append(known, label)
		if label == name && l.unique(taken, what, label, headerOf(b)) {
			block = b
		}
	}
	if block == nil {
		if c.files.broken {
			return fmt.Errorf("no %s named %q can be read: %s", what, name, c.text(c.files.found))
		}
		return c.missing(what, name, known)
	}
	decode(l, block)
	if c.files.untrusted != nil { // what the function file was to read
		return c.files.untrusted
	}
	if l.found.broken() {
		return errors.New(c.text(l.found))
	}
	return nil
}

// loader is a fresh one, with findings of its own.
func (c *Commands) loader() *loader {
	l := c.base
	l.contexts = map[string]*hcl.EvalContext{}
	return &l
}

// maxMistakes is how many mistakes an error names.
const maxMistakes = 3

// text is the first errors among the findings, in one line.
func (c *Commands) text(found findings) string {
	var texts []string
	for _, f := range found.reported(c.files.sources) {
		if f.Severity == Error && len(texts) < maxMistakes {
			texts = append(texts, f.String())
		}
	}
	return strings.Join(texts, "; ")
}
