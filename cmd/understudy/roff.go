package main

import (
	"fmt"
	"strings"
	"time"
)

// roff writes a manual page in man(7)'s macros.
type roff struct{ strings.Builder }

// head begins a page.
func (r *roff) head(name, section, short string, date time.Time) {
	fmt.Fprintf(r, ".TH %s %s %s understudy \"System administration\"\n", strings.ToUpper(name), section, date.UTC().Format(time.DateOnly))
	r.section("NAME")
	fmt.Fprintf(r, "%s \\- %s\n", escape(name), escape(short))
}

func (r *roff) section(title string) { fmt.Fprintf(r, ".SH %s\n", escape(title)) }

func (r *roff) subsection(title string) { fmt.Fprintf(r, ".SS %s\n", escape(title)) }

// text writes paragraphs, which an empty line divides.
func (r *roff) text(s string) {
	for k, paragraph := range strings.Split(strings.TrimSpace(s), "\n\n") {
		if k > 0 {
			r.WriteString(".PP\n")
		}
		r.lines(paragraph)
	}
}

// item writes a term and what it means.
func (r *roff) item(term, rest, meaning string) {
	fmt.Fprintf(r, ".TP\n\\fB%s\\fR%s\n", escape(term), escape(rest))
	r.lines(meaning)
}

func (r *roff) lines(s string) {
	for line := range strings.Lines(s) {
		line = escape(strings.TrimSpace(line))
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line // not a request
		}
		r.WriteString(line + "\n")
	}
}

// escape keeps roff from reading more into a text than it says: hyphens are to be copied as such, and quotes end no argument.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`).Replace(s)
}
