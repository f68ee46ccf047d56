package config

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
)

// aSecret is a key that no pattern shows to be one.
const aSecret = "Kx7-horse+battery_staple~9qWz,Yv4TbN"

// shownOf is all that validate, run, the daemon and the helper would print of a configuration.
func shownOf(t *testing.T, name, text string, getenv func(string) (string, bool)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	o := Options{Node: "lb1", OnThisHost: true, Getenv: getenv}
	_, loaded := Load([]string{path}, o)
	validated := Validate([]string{path}, []string{"lb1", "lb2"}, Options{Node: "lb1", Getenv: getenv})
	var b strings.Builder
	for _, r := range []Report{loaded, validated} {
		j, err := r.JSON()
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(r.Text() + r.Mistakes() + string(j))
		for _, f := range r.Findings {
			fmt.Fprintln(&b, f)
		}
	}
	c, err := LoadCommands([]string{path}, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, missing := c.Hook("web")
	fmt.Fprintln(&b, c.Unread(), missing)
	return b.String()
}

// leaks is a part of a secret that is in a text; "": none. JSON writes it otherwise.
func leaks(text, secret string, length int) string {
	if unquoted, err := json.Marshal(secret); err == nil && strings.Contains(text, strings.Trim(string(unquoted), `"`)) {
		return secret
	}
	for i := 0; i+length <= len(secret); i++ {
		if strings.Contains(text, secret[i:i+length]) {
			return secret[i : i+length]
		}
	}
	return ""
}

// inAuth are ways to write a secret into an auth block, right and wrong; SECRET stands for it.
var inAuth = []string{
	"active = 1\nkey \"1\" {\n file = \"SECRET\"\n}", "active = 1\nkey \"1\" {\n secret = \"SECRET\"\n}", "active = 1\nkey \"1\" {\n file = SECRET\n}",
	"active = 1\nkey \"1\" { file = \"SECRET\" }", "active = 1\nkey \"1\" {\n file = \"SECRET\n}", "active = 1\nkey \"1\" {\n file = 'SECRET'\n}",
	"active = 1\nkey \"1\" {\n file = <<EOT\nSECRET\nEOT\n}", "active = 1\nkey \"1\" {\n file = <<EOT\nSECRET\n", "active = 1\nkey 1 SECRET", "key \"1\" \"SECRET\" {\n}",
	"key \"SECRET\" {\n}", "active = 1\nkey \"1\" {\n credential = \"SECRET\"\n}", "active = 1\nkey \"1\" {\n SECRET\n}", "SECRET", "\"SECRET\"", "active = \"SECRET\"",
	"mode = \"SECRET\"", "active = 1\nkey = { \"1\" = { file = \"SECRET\" } }", "\"key\": {\"1\": {\"file\": \"SECRET\"}}", "active = 1\nkey \"1\" {\n file = file(\"SECRET\")\n}",
	"active = 1\nkey \"1\" {\n file = \"${hostname}SECRET\"\n}", "active = 1\nkey \"1\" {\n file = [\n\"SECRET\",\n1]\n}", "active = 1\nkey \"1\" {\n # SECRET\n file = 1 +\n}",
	"active = 1\nkey \"1\" {\n file = lookup({\n a = \"SECRET\" }, \"b\")\n}", "active = 1\nkey \"1\" {\n file = (\n SECRET\n)\n}",
	"active = 1\nkey \"1\" {\n file = SECRET(\"x\")\n}", "active = 1\nkey \"1\" {\n file = hostname.SECRET\n}", "active = 1\nkey \"1\" {\n}\n}\nkey \"2\" {\n file = \"SECRET\"\n}",
	"} }\nauth { key \"1\" { file = \"SECRET", "active = 1; key \"1\" { file = \"SECRET\" }", "active = 1\nkey \"1\" {\n file\n = \"SECRET\"\n}", "active = 1\nkey \"1\" {\n file = \"a\" \"SECRET\"\n}",
	"active = 1\nkey \"1\" {\n file = \"\\SECRET\"\n}", "active = 1\nkey \"1\" {\n file = true ? \"SECRET\" : 1\n oops\n}", "password = \"SECRET\"", "password_file = \"SECRET\"", "pasword = \"SECRET\"",
	"password = SECRET", "auth_pass SECRET",
}

// TestNoMessageShowsAKey, however wrong it is written and wherever: inline as keepalived has it, misspelt, unterminated, in a heredoc,
// without quotes.
func TestNoMessageShowsAKey(t *testing.T) {
	digits := hex.EncodeToString([]byte(keyText))
	for _, secret := range []string{"hex:" + digits, "HEX:" + strings.ToUpper(digits), digits, aSecret, "ascii-key-with-32-bytes-or-more.12345", "/" + strings.Repeat("Ab3x", 11), "abcd1234", "Kàx7-Рожь-ąŠ-9qWz"} {
		for _, block := range inAuth {
			arounds := []string{"auth {\nBLOCK\n}", "auth { BLOCK }", "auth_hmac {\nBLOCK\n}", "BLOCK", "version = 2\nauth {\nBLOCK\n}\nnonsense"}
			if secret != aSecret {
				arounds = arounds[:1]
			}
			for _, around := range arounds {
				named := strings.Contains(block, "key") || strings.Contains(block, "pas")
				if secret == "abcd1234" && !strings.Contains(block, "pas") || around == "BLOCK" && !named {
					continue // nobody takes it for a secret
				}
				text := with(strings.ReplaceAll(strings.ReplaceAll(around, "BLOCK", block), "SECRET", secret))
				said := shownOf(t, "test.hcl", text, noEnvironment)
				if part := leaks(said, secret[len(secret)-len(strings.TrimPrefix(strings.ToLower(secret), "hex:")):], 8); part != "" {
					t.Errorf("%q is shown of\n%s\n%s", part, text, said)
				}
			}
		}
	}
}

// TestNoMessageShowsAKeyOfJSON is the same for the other syntax.
func TestNoMessageShowsAKeyOfJSON(t *testing.T) {
	const whole = `{"instance": {"web": {"interface": "eth0", "vrid": 71, "priority": 150, "addresses": ["192.0.2.10"], "auth": AUTH}}}`
	for _, auth := range []string{
		`{"active": 1, "key": {"1": {"file": "SECRET"}}}`, `{"active": 1, "key": {"1": {"secret": "SECRET"}}}`, `{"active": 1, "key": {"SECRET": {"file": "x"}}}`,
		`{"active": 1, "key": {"1": "SECRET"}}`, `{"active": 1, "key": "SECRET"}`, `"SECRET"`, `["SECRET"]`, `{"SECRET": 1}`, `{"active": "SECRET"}`, `{"mode": "SECRET"}`,
		`{"active": 1, "mode": "${", "key": {"1": {"file": "SECRET"}}}`, `{"active": "${", "key": {"1": {"secret": "SECRET"}}, "mode": "}"}`,
		`{"active": 1, "key": {"1": {"file": SECRET}}}`, `{"active": 1, "key": {"1": {"file": "SECRET}}}`, `{"active": 1, "key": {"1": {"file": "SECRET"}}`, `{"password": "SECRET"`, `{"pasword": "SECRET"}`,
	} {
		for _, secret := range []string{"hex:" + hex.EncodeToString([]byte(keyText)), aSecret} {
			text := strings.ReplaceAll(strings.ReplaceAll(whole, "AUTH", auth), "SECRET", secret)
			for _, text := range []string{text, strings.NewReplacer("{", "{\n", ",", ",\n").Replace(text)} {
				said := shownOf(t, "test.hcl.json", text, noEnvironment)
				if part := leaks(said, strings.TrimPrefix(secret, "hex:"), 8); part != "" {
					t.Errorf("%q is shown of\n%s\n%s", part, text, said)
				}
			}
		}
	}
}

// TestNoMistypedByteShowsAKey: whatever one byte more, less or instead does to the syntax.
func TestNoMistypedByteShowsAKey(t *testing.T) {
	block := "auth {\n active = 1\n key \"1\" {\n  secret = \"" + aSecret + "\"\n }\n mode = \"x\"\n}\n"
	whole := with(block)
	begin := strings.Index(whole, block)
	for i := begin; i < begin+len(block); i++ {
		inside := strings.Index(whole, aSecret)
		if i > inside && i < inside+len(aSecret) {
			continue
		}
		for _, text := range []string{whole[:i] + whole[i+1:], whole[:i], whole[:i] + "\"" + whole[i:], whole[:i] + "}" + whole[i:], whole[:i] + "{" + whole[i:], whole[:i] + "\n" + whole[i:], whole[:i] + "/*" + whole[i:]} {
			said := shownOf(t, "test.hcl", text, noEnvironment)
			if part := leaks(said, aSecret, 8); part != "" {
				t.Fatalf("%q is shown of\n%s\n%s", part, text, said)
			}
		}
	}
}

// TestNoMessageShowsAKeyOfAnExpression: what an expression has come to is shown no more than what is written.
func TestNoMessageShowsAKeyOfAnExpression(t *testing.T) {
	getenv := func(name string) (string, bool) { return aSecret, name == "KEY" }
	for _, expr := range []string{`env("KEY")`, `"${env("KEY")}"`, `file("web.key")`, `trimspace(file("web.key"))`} {
		dir := authIn(t, withAuth(`active = 1`, `key "1" {`, `file = `+expr, `}`), map[string]string{"web.key": aSecret + "\n"})
		_, loaded := Load([]string{dir}, Options{Node: "lb1", OnThisHost: true, Getenv: getenv})
		if text := loaded.Text(); loaded.OK(false) || leaks(text, aSecret, 8) != "" || !strings.Contains(text, "it may be the secret itself; it belongs in a file of mode 0600") {
			t.Errorf("of %s Load says\n%s", expr, text)
		}
	}
	for _, line := range []string{`mode = env("KEY")`, `active = env("KEY")`, "key \"1\" {\n credential = env(\"KEY\")\n}", "key \"1\" {\n file = file(env(\"KEY\"))\n}", `password = file(env("KEY"))`} {
		if said := shownOf(t, "test.hcl", withAuth(line), getenv); leaks(said, aSecret, 8) != "" {
			t.Errorf("of %s is said\n%s", line, said)
		}
	}
}

// TestWhereAKeyBelongs: who writes it into the configuration hears what to do instead, on every host.
func TestWhereAKeyBelongs(t *testing.T) {
	const remedy = "it belongs in a file of mode 0600, in one line, as it stands (keepalived's files are the same); then write %s = \"/etc/understudy/NAME\"\n"
	key := "hex:" + hex.EncodeToString([]byte(keyText))
	for _, tt := range []struct{ lines, want string }{
		{"active = 1\nkey \"1\" {\nfile = \"" + key + "\"\n}", "error: file of key \"1\" of instance \"web\" is the secret itself; " + fmt.Sprintf(remedy, "file") + "    9 | file = (hidden)\n"},
		{"active = 1\nkey \"1\" {\nfile = \"" + aSecret + "\"\n}", "warning: on this host: file of key \"1\" of instance \"web\" is the name of no file; it is not shown, since it may be the secret itself; " + fmt.Sprintf(remedy, "file")},
		{"active = 1\nkey \"1\" {\nsecret = \"" + key + "\"\n}", "key \"1\" of instance \"web\" has no file; it is required: the file that holds the key (mode 0600, one line: text, or hex: and digits, as keepalived has it)"},
	} {
		r := Validate([]string{writeFile(t, withAuth(tt.lines))}, nil, Options{Node: "lb1"})
		if said := r.Text(); !strings.Contains(said, tt.want) {
			t.Errorf("Validate says\n%s\nwant\n%s", said, tt.want)
		}
	}
}

// TestAMaskThatFailsHidesAll: no message about a file is shown of which it is not known what it hides.
func TestAMaskThatFailsHidesAll(t *testing.T) {
	m := masks{made: map[string]*mask{"a.hcl": orOpaque(func() *mask { panic("a token that nobody thought of") })}}
	for path, want := range map[string]string{"a.hcl": concealed, "b.hcl": "interface is \"eth0\""} {
		at := hcl.Range{Filename: path, Start: hcl.InitialPos, End: hcl.InitialPos}
		if got := m.conceal(at, "interface is \"eth0\""); got != want || m.snippet(at) != "" || m.conceal(at, "") != "" {
			t.Errorf("of %s is said %q and shown %q, want %q", path, got, m.snippet(at), want)
		}
	}
}

// TestMaskHasABound: many mistakes among many secrets do not keep a reload.
func TestMaskHasABound(t *testing.T) {
	var lines strings.Builder
	for n := range 20_000 {
		fmt.Fprintf(&lines, "unknown_%d = \"secret-%d\"\n", n, n)
	}
	began := time.Now()
	r := Validate([]string{writeFile(t, withAuth(lines.String()))}, []string{"lb1"}, Options{})
	if said := r.Text(); r.Count(Error) < 20_000 || strings.Contains(said, "secret-") {
		t.Errorf("%d mistakes in %d bytes", r.Count(Error), len(said))
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	} else {
		t.Logf("it took %s", took)
	}
}

// TestWhatIsShown: the rest of a file is, in an auth block what is amiss, and the path of a file.
func TestWhatIsShown(t *testing.T) {
	dir := writeIn(t, commandtest.Dir(t), map[string]string{"test.hcl": with("auth {", "  active = 1", `  mode = "permisive" # why`, `  key "1" {`, `    file = "keys/web.key"`, "  }", "}", "dead_adverts = 0")})
	_, loaded := Load([]string{filepath.Join(dir, "test.hcl")}, Options{Node: "lb1", OnThisHost: true})
	for _, want := range []string{`mode is "permisive"`, "   8 |   mode = (hidden)\n", dir + "/keys/web.key does not exist", "  10 |     file = (hidden)\n", "dead_adverts = 0\n"} {
		if !strings.Contains(loaded.Text(), want) {
			t.Errorf("Load does not say %q:\n%s", want, loaded.Text())
		}
	}
	broken := Validate([]string{writeFile(t, "instance \"a\" {\n  auth {\n    password = \"SECRET12\n  }\n}\ncheck \"tcp\" \"b\" {\n  address = \"x\n}\n")}, nil, Options{Node: "lb1"})
	if lines := strings.Split(broken.Text(), "\n"); !slices.Contains(lines, "    6 | check \"tcp\" \"b\" {") || strings.Contains(broken.Text(), "SECRET") {
		t.Errorf("Validate says\n%s", broken.Text())
	}
}
