package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// block is a decoded block: what stays known of it beside the structs that were filled.
type block struct {
	// title is what the block is called in messages: `instance "web"`.
	title string
	// at is the place of its header.
	at     hcl.Range
	attrs  map[string]attribute
	nested hcl.Blocks
	// missing are the required attributes that were left out; that was said already.
	missing []string
}

// attribute is one that was written, with a value other than null.
type attribute struct {
	at hcl.Range
	// elements are the places of a list's elements, where the list was written as one.
	elements []hcl.Range
	// usable is false where the value could not be had; what is wrong was said already.
	usable bool
}

// has says that the attribute was written; null equals left out.
func (b block) has(name string) bool {
	_, ok := b.attrs[name]
	return ok
}

// usable says that the struct holds what was written, so that it may be judged.
func (b block) usable(name string) bool { return b.attrs[name].usable }

// sound says that every attribute that was written or required can be judged.
func (b block) sound() bool {
	for _, a := range b.attrs {
		if !a.usable {
			return false
		}
	}
	return len(b.missing) == 0
}

// place is where the attribute's value stands, or the block's header if it was left out.
func (b block) place(name string) hcl.Range {
	if a, ok := b.attrs[name]; ok {
		return a.at
	}
	return b.at
}

// element is where the list's i-th element stands, or the list.
func (b block) element(name string, i int) hcl.Range {
	if a := b.attrs[name]; i >= 0 && i < len(a.elements) {
		return a.elements[i]
	}
	return b.place(name)
}

// field is a struct's field that a block's attribute fills.
type field struct {
	name     string
	required bool
	value    reflect.Value
	doc      string
}

// fieldsOf lists the fields with an hcl tag of the structs that targets point to.
func fieldsOf(targets ...any) []field {
	var fs []field
	for _, target := range targets {
		for sf, value := range reflect.ValueOf(target).Elem().Fields() {
			if tag, ok := sf.Tag.Lookup("hcl"); ok {
				name, option, _ := strings.Cut(tag, ",")
				fs = append(fs, field{name: name, required: option != "optional", value: value, doc: sf.Tag.Get("doc")})
			}
		}
	}
	return fs
}

// decode fills the structs that targets point to from the block's attributes, and returns the places. Nested blocks must
// be of the given types.
func (l *loader) decode(b *hcl.Block, title string, nested []hcl.BlockHeaderSchema, targets ...any) block {
	fs := fieldsOf(targets...)
	schema := &hcl.BodySchema{Blocks: nested}
	for _, f := range fs {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: f.name})
	}
	content, diags := b.Body.Content(schema)
	l.found.add(diags)
	out := block{title: title, at: headerOf(b), attrs: make(map[string]attribute), nested: content.Blocks}
	for _, f := range fs {
		attr, ok := content.Attributes[f.name]
		if ok {
			ok = l.assign(&out, f, attr.Expr)
		}
		if !ok && f.required {
			l.found.errorf(out.at, detailOf(f), "%s has no %s", title, f.name)
			out.missing = append(out.missing, f.name)
		}
	}
	return out
}

func detailOf(f field) string {
	if f.doc == "" {
		return "it is required"
	}
	return "it is required: " + uncapital(f.doc)
}

// headerOf is the place of a block's type and labels. In JSON that is the innermost label.
func headerOf(b *hcl.Block) hcl.Range {
	if n := len(b.LabelRanges); n > 0 && b.TypeRange.Start.Line == b.LabelRanges[n-1].End.Line {
		return hcl.RangeBetween(b.TypeRange, b.LabelRanges[n-1])
	}
	if n := len(b.LabelRanges); n > 0 {
		return b.LabelRanges[n-1]
	}
	return b.TypeRange
}

// assign evaluates an attribute into its field. It returns false for null, which equals left out.
func (l *loader) assign(out *block, f field, expr hcl.Expression) bool {
	a := attribute{at: expr.Range()}
	l.refused = ""
	val, diags := expr.Value(l.contextOf(a.at.Filename))
	switch {
	case diags.HasErrors():
		l.addEvaluation(diags)
	case val.IsNull():
		return false
	case !val.IsWhollyKnown():
		l.found.warnf(a.at, "run validate as a user who may read it", "%s is not checked: %s", f.name, l.refused)
	default:
		val, a.elements = withoutNulls(val, expr)
		if wrong := set(f.value, val); wrong != nil {
			at, verb := a.at, "is"
			if wrong.element >= 0 {
				verb = "holds"
			}
			if wrong.element >= 0 && wrong.element < len(a.elements) {
				at = a.elements[wrong.element]
			}
			l.found.errorf(at, wrong.allowed, "%s %s %s", f.name, verb, wrong.got)
			break
		}
		a.usable = true
	}
	out.attrs[f.name] = a
	return true
}

// labelOf is the place of a block's name.
func labelOf(b *hcl.Block) hcl.Range { return b.LabelRanges[len(b.LabelRanges)-1] }

// unique reports names that are taken, and remembers the rest. what is the sort of thing: "check".
func (l *loader) unique(taken map[string]hcl.Range, what, name string, at hcl.Range) bool {
	if before, ok := taken[name]; ok {
		l.found.errorf(at, "it is already at "+placeOf(before), "%s %q is declared twice", what, name)
		return false
	}
	taken[name] = at
	return true
}

func placeOf(r hcl.Range) string {
	return fmt.Sprintf("%s:%d:%d", r.Filename, r.Start.Line, r.Start.Column)
}

// nestedOf returns the nested blocks of a type, in order.
func (b block) nestedOf(kind string) hcl.Blocks { return b.nested.OfType(kind) }
