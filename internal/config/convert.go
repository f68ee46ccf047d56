package config

import (
	"encoding"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// maxShown is how many characters of a value a message shows.
const maxShown = 80

// oneOrMore is a list, or a text that stands for a list of it alone.
type oneOrMore []string

// mismatch is a value that does not fit its field.
type mismatch struct {
	got, allowed string
	element      int // of a list or map; -1: the whole value
}

func refuse(v cty.Value, format string, args ...any) *mismatch {
	return &mismatch{got: shown(v), allowed: fmt.Sprintf(format, args...), element: -1}
}

// set converts a known value that is not null into a field.
func set(dst reflect.Value, v cty.Value) *mismatch {
	if u, ok := dst.Addr().Interface().(encoding.TextUnmarshaler); ok {
		s, wrong := text(v)
		if wrong != nil {
			return wrong
		}
		if err := u.UnmarshalText([]byte(s)); err != nil {
			return refuse(v, "%v", err)
		}
		return nil
	}
	if dst.Type() == reflect.TypeFor[time.Duration]() {
		return setDuration(dst, v)
	}
	if dst.Type() == reflect.TypeFor[oneOrMore]() && !isList(v) {
		v = cty.TupleVal([]cty.Value{v})
	}
	switch dst.Kind() {
	case reflect.String:
		s, wrong := text(v)
		if wrong == nil {
			dst.SetString(s)
		}
		return wrong
	case reflect.Bool:
		b, err := convert.Convert(v, cty.Bool)
		if err != nil {
			return refuse(v, "allowed: true or false")
		}
		dst.SetBool(b.True())
		return nil
	case reflect.Int, reflect.Float64:
		return setNumber(dst, v)
	case reflect.Slice:
		return setSlice(dst, v)
	case reflect.Map:
		return setMap(dst, v)
	}
	panic(fmt.Sprintf("config: no attribute can be decoded into a %s", dst.Type()))
}

func text(v cty.Value) (string, *mismatch) {
	s, err := convert.Convert(v, cty.String)
	if err != nil {
		return "", refuse(v, "allowed: a text in double quotes")
	}
	return s.AsString(), nil
}

func setDuration(dst reflect.Value, v cty.Value) *mismatch {
	const allowed = `allowed: a duration with its unit, such as "250ms", "1.5s" or "2m"`
	if v.Type() != cty.String {
		return refuse(v, allowed)
	}
	d, err := time.ParseDuration(strings.TrimSpace(v.AsString()))
	if err != nil {
		return refuse(v, allowed)
	}
	dst.SetInt(int64(d))
	return nil
}

func setNumber(dst reflect.Value, v cty.Value) *mismatch {
	n, err := convert.Convert(v, cty.Number)
	if err != nil {
		return refuse(v, "allowed: a number")
	}
	f := n.AsBigFloat()
	if dst.Kind() == reflect.Float64 {
		x, _ := f.Float64()
		dst.SetFloat(x)
		return nil
	}
	i, exact := f.Int64()
	if exact != big.Exact {
		return refuse(v, "allowed: a whole number")
	}
	dst.SetInt(i)
	return nil
}

func setSlice(dst reflect.Value, v cty.Value) *mismatch {
	if !isList(v) {
		return refuse(v, "allowed: a list, in square brackets")
	}
	elems := v.AsValueSlice()
	out := reflect.MakeSlice(dst.Type(), len(elems), len(elems))
	for i, e := range elems {
		if wrong := set(out.Index(i), e); wrong != nil {
			wrong.element = i
			return wrong
		}
	}
	dst.Set(out)
	return nil
}

func setMap(dst reflect.Value, v cty.Value) *mismatch {
	if !v.Type().IsObjectType() && !v.Type().IsMapType() {
		return refuse(v, `allowed: a map, such as { "Name" = "value" }`)
	}
	out := reflect.MakeMap(dst.Type())
	elem := reflect.New(dst.Type().Elem()).Elem()
	values := v.AsValueMap()
	for i, key := range slices.Sorted(maps.Keys(values)) {
		elem.SetZero()
		e := values[key]
		if e.IsNull() {
			continue
		}
		if wrong := set(elem, e); wrong != nil {
			wrong.got, wrong.element = fmt.Sprintf("%s for %q", wrong.got, key), i
			return wrong
		}
		out.SetMapIndex(reflect.ValueOf(key).Convert(dst.Type().Key()), elem)
	}
	dst.Set(out)
	return nil
}

func isList(v cty.Value) bool {
	t := v.Type()
	return t.IsTupleType() || t.IsListType() || t.IsSetType()
}

// withoutNulls drops the elements of a list that are null, so that a conditional can leave one out, and returns the places
// of the rest where the list was written as one.
func withoutNulls(v cty.Value, expr hcl.Expression) (cty.Value, []hcl.Range) {
	if !isList(v) {
		return v, nil
	}
	exprs, diags := hcl.ExprList(expr)
	elems := v.AsValueSlice()
	if diags.HasErrors() || len(exprs) != len(elems) {
		exprs = nil
	}
	var kept []cty.Value
	var places []hcl.Range
	for i, e := range elems {
		if e.IsNull() {
			continue
		}
		kept = append(kept, e)
		if exprs != nil {
			places = append(places, exprs[i].Range())
		}
	}
	return cty.TupleVal(kept), places
}

// shown renders a value for a message.
func shown(v cty.Value) string {
	switch {
	case v.IsNull():
		return "null"
	case v.Type() == cty.String:
		return strconv.Quote(cut(v.AsString()))
	case v.Type() == cty.Number:
		return v.AsBigFloat().Text('g', 10)
	case v.Type() == cty.Bool:
		return strconv.FormatBool(v.True())
	case isList(v):
		return "a list"
	default:
		return "a map"
	}
}

func cut(s string) string {
	if r := []rune(s); len(r) > maxShown {
		return string(r[:maxShown]) + "..."
	}
	return s
}
