package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/internal/config"
)

// manualCommand writes the manual pages and the completions of shells into a directory, for who makes a package. They are
// made from the command tree and from the structs that the configuration is decoded into, so that they say what is so.
func manualCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "manual DIRECTORY",
		Short:  "Write the manual pages and shell completions, for packages",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(cmd *cobra.Command, args []string) error { return writeManual(cmd.Root(), args[0], sourceDate()) },
	}
}

// sourceDate is the date of the pages: that of the source where SOURCE_DATE_EPOCH says it, so that the same source makes the
// same bytes, else today's.
func sourceDate() time.Time {
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(seconds, 0)
	}
	return time.Now()
}

// page is one file of the manual.
type page struct {
	folder, name string
	write        func(io.Writer) error
}

// writeManual writes man8, man5 and a folder for each shell.
func writeManual(root *cobra.Command, dir string, date time.Time) error {
	root.InitDefaultCompletionCmd()
	pages := []page{
		{"man5", "understudy.hcl.5", func(w io.Writer) error { return write(w, configPage(config.Manual(), date)) }},
		{"bash", "understudy", func(w io.Writer) error { return root.GenBashCompletionV2(w, true) }},
		{"zsh", "_understudy", root.GenZshCompletion},
		{"fish", "understudy.fish", func(w io.Writer) error { return root.GenFishCompletion(w, true) }},
	}
	for _, c := range append([]*cobra.Command{root}, callable(root)...) {
		pages = append(pages, page{"man8", pageName(c) + ".8", func(w io.Writer) error { return write(w, commandPage(c, date)) }})
	}
	for _, p := range pages {
		var text bytes.Buffer
		if err := p.write(&text); err != nil {
			return fmt.Errorf("manual: %s/%s: %w", p.folder, p.name, err)
		}
		if err := os.MkdirAll(filepath.Join(dir, p.folder), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, p.folder, p.name), text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func write(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// callable lists the commands that people call.
func callable(c *cobra.Command) (list []*cobra.Command) {
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			list = append(list, sub)
		}
	}
	return list
}

// pageName is a command's page: understudy-drain for understudy drain.
func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// commandPage is a command's page.
func commandPage(c *cobra.Command, date time.Time) string {
	var r roff
	r.head(pageName(c), "8", c.Short, date)
	r.section("SYNOPSIS")
	fmt.Fprintf(&r, "\\fB%s\\fR%s\n", escape(c.CommandPath()), escape(strings.TrimPrefix(c.UseLine(), c.CommandPath())))
	r.section("DESCRIPTION")
	description := c.Long
	if description == "" {
		description = c.Short + "."
	}
	r.text(description)
	subs := callable(c)
	if len(subs) > 0 {
		r.section("COMMANDS")
	}
	for _, sub := range subs {
		r.item(sub.Name(), "", sub.Short+".")
	}
	if c.HasAvailableLocalFlags() {
		r.section("OPTIONS")
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { r.flag(f) })
	}
	if !c.HasParent() {
		r.daemon()
	}
	r.section("SEE ALSO")
	fmt.Fprintf(&r, "%s\n", escape(seeAlso(c)))
	return r.String()
}

// daemon is what the main page says of the daemon, and of all commands.
func (r *roff) daemon() {
	r.section("EXIT STATUS")
	for _, e := range []struct{ status, meaning string }{
		{"0", "It is done."},
		{"1", "It is not, and standard error says why."},
		{"2", "The command line cannot be understood."},
		{"3 and more", "See the pages of the commands that have them: status and drain."},
	} {
		r.item(e.status, "", e.meaning)
	}
	r.section("SIGNALS")
	r.text("Those of the daemon, understudy run:")
	r.item("SIGHUP", "", "Reads the configuration again, as understudy reload does.")
	r.item("SIGTERM, SIGINT", "", "Hands the addresses over, releases them, runs the stop hooks and ends. A second one ends it at once.")
	r.section("FILES")
	for _, f := range []struct{ path, meaning string }{
		{defaultConfig + "/understudy.hcl", "The configuration, with checks.d/ and conf.d/ beside it: see understudy.hcl(5)."},
		{"/etc/default/understudy, /etc/sysconfig/understudy", "UNDERSTUDY_OPTIONS: arguments of the service's understudy run."},
		{defaultRuntime, "The control socket, and the list of the addresses that are held."},
		{defaultState, "What outlives a reboot: the drains, and what is known of other hosts' signed adverts."},
		{defaultHelper, "Where the daemon has hooks run by root."},
	} {
		r.item(f.path, "", f.meaning)
	}
}

// flag is one option of a command.
func (r *roff) flag(f *pflag.Flag) {
	if f.Hidden {
		return
	}
	word, usage := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	if word != "" {
		word = " " + word
	}
	usage = strings.ToUpper(usage[:1]) + usage[1:] + "."
	if d := f.DefValue; d != "" && d != "false" && d != "[]" {
		usage += " Default: " + d + "."
	}
	r.item(name, word, usage)
}

// seeAlso names the pages around a command's.
func seeAlso(c *cobra.Command) string {
	pages := []string{"understudy.hcl(5)", "nginx(8)"}
	if c.HasParent() {
		return strings.Join(append([]string{pageName(c.Parent()) + "(8)"}, pages...), ", ")
	}
	var subs []string
	for _, sub := range callable(c) {
		subs = append(subs, pageName(sub)+"(8)")
	}
	return strings.Join(append(subs, pages...), ", ")
}

// configPage is the page of the configuration.
func configPage(blocks []config.Block, date time.Time) string {
	var r roff
	r.head("understudy.hcl", "5", "configuration of understudy", date)
	r.section("SYNOPSIS")
	r.text("/etc/understudy/understudy.hcl\n\n/etc/understudy/checks.d/*.hcl\n\n/etc/understudy/conf.d/*.hcl")
	r.section("DESCRIPTION")
	r.text(`All files are read in this order and merged as if they were one, in HCL or, with names that end in .hcl.json, in JSON. A directory
that has none of them may have other *.hcl files, such as web.hcl, which are read then. One identical file can serve all hosts: the
variable hostname is the node's name (--node, else the host's name up to the first dot), and the functions env, file, lookup and try
are there beside conditionals, maps and templates. Durations are written as "250ms" or "1h30m".

A changed file is applied within a second, whole or not at all. understudy validate says what is wrong, with file, line and column,
and proves that each failing check can move the addresses; with --here it fails for what this host lacks, too.`)
	r.section("BLOCKS")
	for _, b := range blocks {
		r.block(b, "")
	}
	r.section("SEE ALSO")
	r.text("understudy(8), understudy-validate(8), understudy-status(8), nginx(8)")
	return r.String()
}

// block is a block of the configuration and what may stand inside it.
func (r *roff) block(b config.Block, inside string) {
	r.subsection(b.Header + inside)
	r.text(b.Doc)
	for _, o := range b.Options {
		what := o.Type
		switch {
		case o.Required:
			what += ", required"
		case o.Default != "":
			what += ", default " + o.Default
		}
		r.item(o.Name, " ("+what+")", o.Doc)
	}
	if len(b.Variables) > 0 {
		r.WriteString(".PP\n")
		r.text("The environment of the program says what happened:")
	}
	for _, v := range b.Variables {
		r.item(v.Name, "", v.Doc)
	}
	for _, nested := range b.Nested {
		r.block(nested, " in "+strings.Fields(b.Header)[0])
	}
}
