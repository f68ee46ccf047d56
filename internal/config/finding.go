package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
)

// Severity says what a finding means for the exit code.
type Severity string

// The severities.
const (
	// Error makes the configuration unusable.
	Error Severity = "error"
	// Warning is a likely mistake; it fails only a strict validation.
	Warning Severity = "warning"
	// Note is worth knowing and never fails.
	Note Severity = "note"
)

// Finding is one thing that validation has to say.
type Finding struct {
	Severity Severity
	// Summary says what is wrong, with the value; Detail what is allowed or what to do.
	Summary, Detail string
	// Range is where; its Filename is empty where no place in a file is meant.
	Range hcl.Range
	// Nodes are the nodes for which it holds; empty: for all that were looked at.
	Nodes []string
	// Here says that it is about this machine and not about the text: another one may have what this one lacks.
	Here bool
}

// Same says whether another finding says the same of the same file, perhaps of another line.
func (f Finding) Same(g Finding) bool {
	return f.Severity == g.Severity && f.Summary == g.Summary && f.Detail == g.Detail && f.Range.Filename == g.Range.Filename
}

// findings collects what one evaluation finds.
type findings []Finding

func (fs *findings) errorf(at hcl.Range, detail, format string, args ...any) {
	*fs = append(*fs, Finding{Severity: Error, Summary: fmt.Sprintf(format, args...), Detail: detail, Range: at})
}

func (fs *findings) warnf(at hcl.Range, detail, format string, args ...any) {
	*fs = append(*fs, Finding{Severity: Warning, Summary: fmt.Sprintf(format, args...), Detail: detail, Range: at})
}

func (fs *findings) notef(at hcl.Range, detail, format string, args ...any) {
	*fs = append(*fs, Finding{Severity: Note, Summary: fmt.Sprintf(format, args...), Detail: detail, Range: at})
}

// add takes over what the HCL library found, in this project's style of words.
func (fs *findings) add(diags hcl.Diagnostics) {
	for _, d := range diags {
		f := Finding{Severity: Error, Summary: uncapital(d.Summary), Detail: uncapital(d.Detail)}
		if d.Severity == hcl.DiagWarning {
			f.Severity = Warning
		}
		if d.Subject != nil {
			f.Range = *d.Subject
		}
		*fs = append(*fs, f)
	}
}

// broken says whether there is an error.
func (fs findings) broken() bool {
	return slices.ContainsFunc(fs, func(f Finding) bool { return f.Severity == Error })
}

// reported is what may leave this package: in order, and without what may be a secret.
func (fs findings) reported(sources []Source) findings {
	m := masks{sources: sources}
	for i := range fs {
		fs[i].Summary, fs[i].Detail = m.conceal(fs[i].Range, fs[i].Summary), m.conceal(fs[i].Range, fs[i].Detail)
	}
	return fs.sorted(sources)
}

// sorted orders by place, files in the order in which they were read; what has no place comes first.
func (fs findings) sorted(sources []Source) findings {
	order := make(map[string]int, len(sources))
	for i, s := range sources {
		order[s.Path] = i + 1
	}
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(order[a.Range.Filename], order[b.Range.Filename]),
			cmp.Compare(a.Range.Start.Line, b.Range.Start.Line),
			cmp.Compare(a.Range.Start.Column, b.Range.Start.Column),
			cmp.Compare(a.Summary, b.Summary),
		)
	})
	return fs
}

// uncapital turns a sentence of the HCL library into one of ours: no capital at the start, no full stop, one line.
func uncapital(s string) string {
	s = strings.TrimSuffix(strings.Join(strings.Fields(s), " "), ".")
	first, n := utf8.DecodeRuneInString(s)
	second, _ := utf8.DecodeRuneInString(s[n:])
	if n == 0 || unicode.IsUpper(second) {
		return s
	}
	return string(unicode.ToLower(first)) + s[n:]
}
