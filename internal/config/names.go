package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
)

// maxTypos is how far a name may be from another one to be taken for it.
const maxTypos = 2

// oneOf checks a word that was written against those that are allowed.
func (l *loader) oneOf(b block, name, value string, allowed []string) {
	if slices.Contains(allowed, value) {
		return
	}
	l.found.errorf(b.place(name), "allowed: "+quoted(allowed)+didYouMean(value, allowed), "%s is %q", name, cut(value))
}

// unknownName reports a name that is none of those that exist.
func (l *loader) unknownName(at hcl.Range, what, name string, known []string) {
	detail := "there are " + quoted(known)
	if len(known) == 0 {
		detail = "there is none"
	}
	l.found.errorf(at, detail+didYouMean(name, known), "no %s is named %q", what, cut(name))
}

// exists checks a name that refers to something else in the configuration. Where this is not the whole of it, the rest may
// hold what is missing.
func (l *loader) exists(at hcl.Range, what, name string, known []string) {
	switch {
	case slices.Contains(known, name):
	case l.files.broken:
	case len(known) == 0 && l.fragment:
		l.found.notef(at, "not checked: these files hold none", "%s %q is elsewhere", what, name)
	default:
		l.unknownName(at, what, name, known)
	}
}

func quoted(names []string) string {
	var quotes []string
	for _, n := range names {
		quotes = append(quotes, fmt.Sprintf("%q", n))
	}
	return strings.Join(quotes, ", ")
}

func didYouMean(name string, known []string) string {
	best, distance := "", maxTypos+1
	for _, k := range known {
		if d := levenshtein.Distance(name, k, nil); d < distance {
			best, distance = k, d
		}
	}
	if best == "" || distance >= len(best) {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}
