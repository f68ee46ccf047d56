package config

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/json"
)

// The HCL parser recurses at brackets and at these operators: without a limit a file could exhaust the stack, which
// nothing recovers from, and an administrator's file must not end the daemon.
const (
	maxDepth     = 100
	maxOperators = 20000
	operators    = "!-?%"
)

// parse parses one file: JSON or HCL's native syntax.
func parse(path string, text []byte) (file *hcl.File, diags hcl.Diagnostics) {
	defer func() {
		if r := recover(); r != nil {
			diags = append(diags, unparsable(path, 1, fmt.Sprintf("the parser gave up: %v", r)))
		}
	}()
	if line := tooDeep(text); line > 0 {
		return nil, hcl.Diagnostics{unparsable(path, line, fmt.Sprintf("brackets are nested more than %d deep", maxDepth))}
	}
	if n := countAny(text, operators); n > maxOperators {
		return nil, hcl.Diagnostics{unparsable(path, 1, fmt.Sprintf("the file holds %d of the characters %s, more than %d",
			n, operators, maxOperators))}
	}
	if isJSON(path, text) {
		return json.Parse(text, path)
	}
	file, diags = hclsyntax.ParseConfig(text, path, hcl.InitialPos)
	if at := keepalivedBlock.FindIndex(text); at != nil && diags.HasErrors() {
		line := 1 + bytes.Count(text[:at[0]], []byte("\n"))
		return nil, hcl.Diagnostics{unparsable(path, line, "this is a configuration of keepalived, and understudy reads HCL: examples/migration shows the same pair in both")}
	}
	return file, diags
}

// keepalivedBlock begins what only a keepalived.conf has.
var keepalivedBlock = regexp.MustCompile(`(?m)^[ \t]*(?:global_defs|(?:vrrp_(?:instance|script|sync_group|track_process)|virtual_server)[ \t][^{}=\n]*)\s*\{`)

// isJSON goes by the name. One that says nothing is that of the temporary file in which a configuration tool has its work
// validated: then what begins with a brace is JSON, since nothing in the native syntax does.
func isJSON(path string, text []byte) bool {
	if strings.HasSuffix(path, ".json") || strings.HasSuffix(path, ".hcl") {
		return strings.HasSuffix(path, ".json")
	}
	return bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{"))
}

func unparsable(path string, line int, summary string) *hcl.Diagnostic {
	pos := hcl.Pos{Line: line, Column: 1}
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: summary, Subject: &hcl.Range{Filename: path, Start: pos, End: pos},
	}
}

// tooDeep returns the line where brackets are nested too deeply, or 0. It counts bytes and not tokens, since the tokens
// are the parser's: a text with a hundred more opening brackets than closing ones is refused with it.
func tooDeep(text []byte) int {
	depth, line := 0, 1
	for _, c := range text {
		switch c {
		case '\n':
			line++
		case '(', '[', '{':
			depth++
			if depth > maxDepth {
				return line
			}
		case ')', ']', '}':
			depth = max(0, depth-1)
		}
	}
	return 0
}

func countAny(text []byte, chars string) int {
	n := 0
	for _, c := range text {
		if strings.IndexByte(chars, c) >= 0 {
			n++
		}
	}
	return n
}
