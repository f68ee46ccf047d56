package config

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
)

// maxSnippet is how many characters of a source line are shown.
const maxSnippet = 160

// format writes findings for people, two lines each: "file:line:col: error: summary; detail" and the source line.
func format(fs findings, sources []Source) string {
	var b strings.Builder
	m := masks{sources: sources}
	for _, f := range fs {
		f.write(&b, m.snippet(f.Range))
	}
	return b.String()
}

func (f Finding) write(b *strings.Builder, line string) {
	fmt.Fprintln(b, f)
	if line != "" {
		fmt.Fprintf(b, "%5d | %s\n", f.Range.Start.Line, line)
	}
}

// String returns the finding in one line, without the source.
func (f Finding) String() string {
	var b strings.Builder
	if f.Range.Filename != "" {
		fmt.Fprintf(&b, "%s:%d:%d: ", f.Range.Filename, f.Range.Start.Line, f.Range.Start.Column)
	}
	fmt.Fprintf(&b, "%s: ", f.Severity)
	switch {
	case f.Here:
		b.WriteString("on this host: ")
	case len(f.Nodes) > 0:
		fmt.Fprintf(&b, "on %s: ", strings.Join(f.Nodes, ", "))
	}
	b.WriteString(f.Summary)
	if f.Detail != "" {
		b.WriteString("; " + f.Detail)
	}
	return printable(b.String())
}

// snippet returns the source line where r starts, or "". What may be a secret in it is not shown.
func (m *masks) snippet(r hcl.Range) string {
	k := m.of(r.Filename)
	n := r.Start.Line - 1
	if k == nil || n < 0 || n >= len(k.lines) {
		return ""
	}
	line := []rune(k.lines[n])
	if len(line) > maxSnippet {
		line = append(line[:maxSnippet], []rune(" ...")...)
	}
	return printable(strings.TrimRight(string(line), " \t"))
}

// printable keeps a file's bytes from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
