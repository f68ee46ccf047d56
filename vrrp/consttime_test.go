package vrrp

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The names by which secrets and MACs go in this package, and what compares them in a time that tells nothing of them, or does tell.
var (
	secretNames = []string{"mac", "MAC", "Password", "Secret", "reveal", "sum", "fingerprint", "want"}
	constant    = []string{"hmac.Equal", "subtle.ConstantTimeCompare"}
	hasty       = []string{"bytes.Equal", "bytes.Compare", "bytes.HasPrefix", "slices.Equal", "slices.Compare", "strings.Compare", "reflect.DeepEqual"}
)

// called is the name of a function of a package that is called, as it is written.
func called(n ast.Node) string {
	if call, ok := n.(*ast.CallExpr); ok {
		switch f := call.Fun.(type) {
		case *ast.Ident:
			return f.Name
		case *ast.SelectorExpr:
			if x, ok := f.X.(*ast.Ident); ok {
				return x.Name + "." + f.Sel.Name
			}
		}
	}
	return ""
}

// secret says whether an expression has a secret or a MAC in it, but for what is made of one in constant time and its length.
func secret(e ast.Node) (found bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && slices.Contains(secretNames, id.Name) {
			found = true
		}
		if star, ok := n.(*ast.StarExpr); ok {
			s, ok := star.X.(*ast.SelectorExpr)
			found = found || ok && s.Sel.Name == "text"
		}
		name := called(n)
		return name != "len" && !slices.Contains(constant, name)
	})
	return found
}

// TestSecretsAreComparedInConstantTime holds that no secret and no MAC is compared by what ends at the first byte that differs. No other
// test sees that.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	compared := 0
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			binary, ok := n.(*ast.BinaryExpr)
			if name := called(n); ok && (binary.Op == token.EQL || binary.Op == token.NEQ) && secret(binary) || slices.Contains(hasty, name) && secret(n) {
				t.Errorf("%s compares a secret: use hmac.Equal", files.Position(n.Pos()))
			} else if slices.Contains(constant, name) {
				compared++
			}
			return true
		})
	}
	if compared < 4 {
		t.Errorf("secrets are compared %d times: those names are not theirs any more", compared)
	}
}
