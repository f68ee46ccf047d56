package config

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/understudy-ha/understudy/vrrp"
)

// What a configuration says of authentication is shown in no message: somebody may have written a key where the name of its file
// belongs, or misspelt the password's argument, and the journal and the status are read by more people than the file.

// concealed is shown instead.
const concealed = "(hidden)"

// masks are those of the files that were read, made when they are needed.
type masks struct {
	sources []Source
	made    map[string]*mask
}

// mask is one file without what may be a secret.
type mask struct {
	lines  []string        // as they may be shown
	hides  []bool          // whether a line hides something
	hidden map[string]bool // the words that are hidden
	opaque bool            // what is hidden is not known
}

// of returns the mask of a file; nil: it was not read.
func (m *masks) of(path string) *mask {
	if k, ok := m.made[path]; ok {
		return k
	}
	if m.made == nil {
		m.made = map[string]*mask{}
	}
	m.made[path] = nil
	if i := slices.IndexFunc(m.sources, func(s Source) bool { return s.Path == path }); i >= 0 {
		m.made[path] = orOpaque(func() *mask { return newMask(path, m.sources[i].Bytes) })
	}
	return m.made[path]
}

// conceal hides in a message about a place what the file hides there, and wherever it comes from what can only be a key.
func (m *masks) conceal(at hcl.Range, message string) string {
	k := m.of(at.Filename)
	if k != nil && k.opaque && message != "" {
		return concealed
	}
	if k != nil && k.covers(at) {
		message = hiddenWord.ReplaceAllStringFunc(message, k.conceal)
		message = quotedText.ReplaceAllStringFunc(message, func(text string) string {
			if mayBeKey(strings.Trim(text, `"`)) { // that an expression has come to
				return `"` + concealed + `"`
			}
			return text
		})
	}
	return withoutKeys(message)
}

func (k *mask) covers(at hcl.Range) bool {
	for n := at.Start.Line; n <= max(at.Start.Line, at.End.Line) && n <= len(k.hides); n++ {
		if n >= 1 && k.hides[n-1] {
			return true
		}
	}
	return false
}

// orOpaque makes a mask. A reload must not end the daemon, whatever is typed: where that panics nothing is shown.
func orOpaque(find func() *mask) (k *mask) {
	defer func() {
		if recover() != nil {
			k = &mask{opaque: true}
		}
	}()
	return find()
}

// newMask finds what a file hides: exactly where it can be parsed, and else all from the first word about secrets to the next block.
func newMask(path string, text []byte) *mask {
	hide := make([]bool, len(text))
	k := &mask{hidden: map[string]bool{}}
	var words []string
	_, diags := parse(path, text)
	json := isJSON(path, text)
	// A template in JSON need not be one that ends: it is not parsed with the file, but the tokens are HCL's.
	if diags.HasErrors() || json && (bytes.Contains(text, []byte("${")) || bytes.Contains(text, []byte("%{"))) {
		hideCoarsely(text, hide)
	} else {
		words = hideTokens(text, hide, json)
	}
	at := 0
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		k.lines = append(k.lines, withoutKeys(showLine(line, hide[at:at+len(line)])))
		k.hides = append(k.hides, slices.Contains(hide[at:at+len(line)], true))
		at += len(line) + 1
	}
	for _, word := range hiddenWords(text, hide) {
		if diags.HasErrors() || !isPath(word) { // a mistake in the syntax is told without paths, another one may need that of a key's file
			words = append(words, word)
		}
	}
	for _, word := range words {
		if !harmless(word) {
			k.hidden[word] = true
		}
	}
	return k
}

// conceal hides a word of a message, what follows a slash in it, or a part of it that could stand in an expression.
func (k *mask) conceal(word string) string {
	bare := strings.TrimRight(word, ".")
	for at := 0; at < len(bare); at++ {
		if (at == 0 || bare[at-1] == '/') && k.hidden[bare[at:]] {
			return bare[:at] + concealed + word[len(bare):]
		}
	}
	return identifier.ReplaceAllStringFunc(word, func(part string) string {
		if k.hidden[part] {
			return concealed
		}
		return part
	})
}

// secretWord is the name of what holds a secret, or of what somebody takes for it.
var secretWord = regexp.MustCompile(`(?i)^(auth.*|keys?|key_.*|.*pas+(w|_|$).*|.*secret.*|credentials?|psk|hmac.*)$`)

// hideTokens hides what stands behind a name of secrets, up to the end of its block, object or argument. Names of arguments and blocks in
// there, numbers of keys and braces stay. It returns the identifiers that it hides: a text without its quotes looks like one.
func hideTokens(text []byte, hide []bool, json bool) (identifiers []string) {
	tokens, _ := hclsyntax.LexConfig(text, "", hcl.InitialPos)
	depth, base, inside, shown := 0, 0, false, 0 // the tokens before shown stay
	for i, t := range tokens {
		depth += nesting[t.Type]
		if inside && (depth < base || depth == base && endsStatement(t, json)) {
			inside = false
		}
		begins := !inside && names(tokens, i, json) && secretWord.Match(t.Bytes)
		if begins || i > 0 && (endsLine(tokens[i-1]) || tokens[i-1].Type == hclsyntax.TokenOBrace) {
			shown = i + header(tokens[i:])
		}
		switch {
		case begins:
			inside, base = true, depth
		case inside && (json || i >= shown && !slices.Contains(structure, t.Type)):
			for b := t.Range.Start.Byte; b < t.Range.End.Byte; b++ {
				hide[b] = hide[b] || !isSpace(text[b])
			}
			if t.Type == hclsyntax.TokenIdent {
				identifiers = append(identifiers, string(t.Bytes))
			}
		}
	}
	return identifiers
}

// isSpace says so of a byte of the text: a part of a character may have the number of a space that has more bits.
func isSpace(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' }

// nesting is what a token adds to the depth.
var nesting = map[hclsyntax.TokenType]int{
	hclsyntax.TokenOBrace: 1, hclsyntax.TokenOBrack: 1, hclsyntax.TokenOParen: 1, hclsyntax.TokenTemplateInterp: 1, hclsyntax.TokenTemplateControl: 1,
	hclsyntax.TokenCBrace: -1, hclsyntax.TokenCBrack: -1, hclsyntax.TokenCParen: -1, hclsyntax.TokenTemplateSeqEnd: -1,
}

// structure are the tokens that are no secret wherever they stand.
var structure = []hclsyntax.TokenType{hclsyntax.TokenOBrace, hclsyntax.TokenCBrace, hclsyntax.TokenNewline}

// endsLine says so of a token: a comment may have the end of its line in it.
func endsLine(t hclsyntax.Token) bool {
	return t.Type == hclsyntax.TokenNewline || t.Type == hclsyntax.TokenComment && bytes.HasSuffix(t.Bytes, []byte("\n"))
}

func endsStatement(t hclsyntax.Token, json bool) bool {
	return t.Type == hclsyntax.TokenEOF || t.Type == hclsyntax.TokenComma || !json && endsLine(t)
}

// names says that a token may be the name of an argument or a block.
func names(tokens hclsyntax.Tokens, i int, json bool) bool {
	if !json {
		return tokens[i].Type == hclsyntax.TokenIdent
	}
	return tokens[i].Type == hclsyntax.TokenQuotedLit && i+2 < len(tokens) && tokens[i+1].Type == hclsyntax.TokenCQuote && tokens[i+2].Type == hclsyntax.TokenColon
}

// maxName is how long the name of an argument may be to be shown: a key is longer.
const maxName = 20

var keyNumber = regexp.MustCompile(`^[0-9]{1,3}$`)

// header is how many tokens stay where a statement begins among secrets: the name of an argument or a block, and the number of a key.
func header(ts hclsyntax.Tokens) int {
	if len(ts) < 4 || ts[0].Type != hclsyntax.TokenIdent || len(ts[0].Bytes) > maxName {
		return 0
	}
	switch {
	case ts[1].Type == hclsyntax.TokenEqual:
		return 2
	case ts[1].Type == hclsyntax.TokenOQuote && keyNumber.Match(ts[2].Bytes) && ts[3].Type == hclsyntax.TokenCQuote:
		return 4
	case ts[1].Type == hclsyntax.TokenOQuote || ts[1].Type == hclsyntax.TokenOBrace:
		return 1
	}
	return 0
}

var (
	// secretLine begins what is hidden of a file that cannot be parsed.
	secretLine = regexp.MustCompile(`(?i)(?:auth|\bkeys?\b|\bkey_|pas+w|\bpass|secret|credential|\bpsk\b|hmac)[a-z_]*`)
	// topLine ends it: the header of a block of the top level.
	topLine = regexp.MustCompile(`^\s*(?:(?:instance|group|check|notify)\s+"|(?:control|reload|log)\s*\{|"(?:instance|group|check|notify|control|reload|log)"\s*:)`)
)

// hideCoarsely does not trust quotes and braces, of which one may be missing.
func hideCoarsely(text []byte, hide []bool) {
	at, inside := 0, false
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		inside = inside && !topLine.Match(line)
		from := 0
		if word := secretLine.FindIndex(line); !inside && word != nil {
			inside, from = true, word[1]
		}
		for b := from; inside && b < len(line); b++ {
			hide[at+b] = !isSpace(line[b])
		}
		at += len(line) + 1
	}
}

var (
	hiddenRun  = regexp.MustCompile(`\x00(?:[\x00\s\v]*\x00)?`)
	beforeARun = regexp.MustCompile(`([^ \t\x00])\x00`)
)

// showLine writes a line with one word for all that is hidden in a row, and a space before it.
func showLine(line []byte, hide []bool) string {
	line = bytes.Clone(line)
	for i := range line {
		if hide[i] {
			line[i] = 0
		}
	}
	line = beforeARun.ReplaceAll(line, []byte("$1 \x00"))
	return strings.TrimRight(string(hiddenRun.ReplaceAll(line, []byte(concealed))), "\r")
}

// vocabulary are the words that messages are made of: names of arguments and functions.
var vocabulary = func() []string {
	words := []string{"auth", "can", "env", "false", "hostname", "key", "lookup", "null", "trimspace", "true", "try"}
	for _, f := range fieldsOf(new(rawInstance), new(rawAuth), new(rawKey)) {
		words = append(words, f.name)
	}
	return words
}()

// modes are what may be shown although it is misspelt.
var modes = []string{vrrp.Enforce.String(), vrrp.Permissive.String(), vrrp.ReceiveOnly.String()}

// minHidden is the least length of a word that is looked for in messages.
const minHidden = 3

var (
	hiddenWord = regexp.MustCompile(`[^\s"'=(){}\[\],:;<>$]+`)
	identifier = regexp.MustCompile(`[\pL\pN_-]+`)
)

// hiddenWords are those of a file that are hidden, and what a message shows of a long one.
func hiddenWords(text []byte, hide []bool) (words []string) {
	hidden := slices.Clone(text)
	for i := range hidden {
		if !hide[i] {
			hidden[i] = ' '
		}
	}
	for _, w := range hiddenWord.FindAll(hidden, -1) {
		words = append(words, string(w), strings.TrimSuffix(cut(string(w)), "..."))
	}
	return words
}

// harmless says of a word that a message may need it, or that it is too short to be looked for.
func harmless(word string) bool {
	return len(word) < minHidden || keyNumber.MatchString(word) || slices.Contains(vocabulary, word) || didYouMean(word, modes) != ""
}

var quotedText = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// aKey is what can be nothing but one: half as many hex digits as the shortest has, or what follows keepalived's prefix.
var aKey = regexp.MustCompile(`(?i)\bhex:\w[^\s"']*|[0-9a-f]{32,}`)

func withoutKeys(text string) string { return aKey.ReplaceAllString(text, concealed) }

// mayBeKey says that a text is as long as a key, and no path.
func mayBeKey(text string) bool { return len(text) >= vrrp.MinKeyLen && !isPath(text) }

// isPath says that a text is the path of a file and not a key or a password that somebody wrote in its place, as far as that can be seen.
func isPath(text string) bool {
	if withoutKeys(text) != text {
		return false
	}
	rest, absolute := strings.CutPrefix(text, "/")
	switch {
	case absolute:
		return len(text) < vrrp.MinKeyLen || strings.ContainsAny(rest, "/.")
	case strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../"):
		return true
	default:
		return len(text) < vrrp.MinKeyLen && strings.ContainsAny(text, "/.")
	}
}
