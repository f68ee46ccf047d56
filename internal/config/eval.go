package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// maxKeysShown is how many keys of a map a message lists.
const maxKeysShown = 16

// contextOf returns what expressions of a file may use. Each file has its own, because `file` is relative to its caller.
func (l *loader) contextOf(filename string) *hcl.EvalContext {
	if ctx, ok := l.contexts[filename]; ok {
		return ctx
	}
	ctx := &hcl.EvalContext{
		Variables: map[string]cty.Value{"hostname": cty.StringVal(l.node)},
		Functions: map[string]function.Function{
			"can":       tryfunc.CanFunc,
			"env":       l.envFunc(),
			"file":      l.fileFunc(filepath.Dir(filename)),
			"lookup":    stdlib.LookupFunc,
			"trimspace": stdlib.TrimSpaceFunc,
			"try":       tryfunc.TryFunc,
		},
	}
	l.contexts[filename] = ctx
	return ctx
}

// envFunc is env(NAME) and env(NAME, DEFAULT).
func (l *loader) envFunc() function.Function {
	return function.New(&function.Spec{
		Params:   []function.Parameter{{Name: "name", Type: cty.String}},
		VarParam: &function.Parameter{Name: "default", Type: cty.String},
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			name := args[0].AsString()
			value, ok := l.getenv(name)
			switch {
			case len(args) > 2:
				return cty.NilVal, errors.New("it takes a name and at most one default")
			case ok:
				return cty.StringVal(value), nil
			case len(args) == 2:
				return args[1], nil
			}
			return cty.NilVal, fmt.Errorf("environment variable %q is not set; set it, or give a default: env(%q, \"...\")", name, name)
		},
	})
}

// fileFunc is file(PATH), relative to dir. A file that may not be read is an unknown value: validate, run by any user, then
// warns that what depends on it is not checked.
func (l *loader) fileFunc(dir string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			path := args[0].AsString()
			if !filepath.IsAbs(path) {
				path = filepath.Join(dir, path)
			}
			if mayBeKey(args[0].AsString()) && missing(path) {
				return cty.NilVal, errors.New("there is no file of that name, which is not shown, since it may be a key")
			}
			text, err := l.files.regular(path)
			if errors.Is(err, fs.ErrPermission) && !l.complete {
				l.refused = reasonOf(path, err)
				return cty.UnknownVal(cty.String), nil
			}
			if err != nil {
				return cty.NilVal, errors.New(reasonOf(path, err))
			}
			return cty.StringVal(string(text)), nil
		},
	})
}

// addEvaluation takes over what went wrong in an expression. The commonest mistake, a map of hosts that does not have this
// one, gets words of its own.
func (l *loader) addEvaluation(diags hcl.Diagnostics) {
	for _, d := range diags {
		if keys, ok := hostsIn(d); ok {
			l.found.errorf(*d.Subject, l.remedyForHost(), "node %q is not in {%s}", l.node, keys)
			continue
		}
		if extra, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok && extra.FunctionCallError() != nil {
			l.found.errorf(*d.Subject, "", "%s: %s", extra.CalledFunctionName(), oneLine(extra.FunctionCallError().Error()))
			continue
		}
		l.found.add(hcl.Diagnostics{d})
	}
}

// remedyForHost says what to do about a map of hosts that lacks this one: an example has names that no host of one's own has.
func (l *loader) remedyForHost() string {
	if l.here || l.complete {
		return "write this host's name there, or say which of them it is: --node NAME (UNDERSTUDY_OPTIONS of the units)"
	}
	return "add it there, or mend the name"
}

// hostsIn recognises MAP[hostname] where MAP has no such key, and returns the keys that there are.
func hostsIn(d *hcl.Diagnostic) (string, bool) {
	index, ok := d.Expression.(*hclsyntax.IndexExpr)
	if !ok || d.Subject == nil || d.EvalContext == nil {
		return "", false
	}
	key, diags := hcl.AbsTraversalForExpr(index.Key)
	if diags.HasErrors() || len(key) != 1 || key.RootName() != "hostname" {
		return "", false
	}
	coll, diags := index.Collection.Value(d.EvalContext)
	if diags.HasErrors() || coll.IsNull() || !coll.IsKnown() || !(coll.Type().IsObjectType() || coll.Type().IsMapType()) {
		return "", false
	}
	names := slices.Sorted(maps.Keys(coll.AsValueMap()))
	if len(names) > maxKeysShown {
		names = append(names[:maxKeysShown], "...")
	}
	return strings.Join(names, ", "), true
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
