package packaging

import (
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// TestFirewalld: its service is XML that opens the protocol.
func TestFirewalld(t *testing.T) {
	var service struct {
		Short    string `xml:"short"`
		Protocol []struct {
			Value string `xml:"value,attr"`
		} `xml:"protocol"`
	}
	if err := xml.Unmarshal([]byte(read(t, "firewalld.xml")), &service); err != nil {
		t.Fatal(err)
	}
	if len(service.Protocol) != 1 || service.Protocol[0].Value != "vrrp" || service.Short == "" {
		t.Errorf("firewalld.xml opens %+v", service)
	}
}

// The chains of hosts with a firewall. Debian's own file has the first one, without rules.
const (
	openChain   = "type filter hook input priority filter;"
	policyChain = "type filter hook input priority filter; policy drop;\n\t\tct state established,related accept\n\t\ttcp dport 22 accept"
	dropChain   = "type filter hook input priority filter;\n\t\tct state established,related accept\n\t\ttcp dport 22 accept\n\t\tdrop"
)

// TestNFTables includes the snippet as its comment says, on hosts of their own. It must load, also for a second time, and its
// rules must come before those that the chain had; so must those for unicast.
func TestNFTables(t *testing.T) {
	labtest.Root(t)
	labtest.Require(t, "nft", "unshare")
	snippet := read(t, "examples/nftables.conf")
	multicast := []string{"ip daddr 224.0.0.18 ip protocol 112 accept", "ip6 daddr ff02::12 meta l4proto 112 accept"}
	unicast := []string{"ip saddr { 10.0.0.12, 10.0.0.13 } ip protocol 112 accept", "ip6 saddr { 2001:db8::12, 2001:db8::13 } meta l4proto 112 accept"}
	for name, chain := range map[string]string{"Debian's": openChain, "policy drop": policyChain, "a last rule that drops": dropChain} {
		t.Run(name, func(t *testing.T) {
			loaded(t, snippet, chain, multicast)
		})
	}
	t.Run("unicast", func(t *testing.T) {
		commented := strings.NewReplacer("\ninsert", "\n#insert", "\n#insert", "\ninsert").Replace(snippet)
		loaded(t, commented, dropChain, unicast)
	})
}

// loaded asserts which rules a chain has when the snippet was included behind its table.
func loaded(t *testing.T, snippet, chain string, want []string) {
	t.Helper()
	dir := t.TempDir()
	included, whole := filepath.Join(dir, "understudy.conf"), filepath.Join(dir, "nftables.conf")
	for path, text := range map[string]string{
		included: snippet,
		whole:    fmt.Sprintf("flush ruleset\n\ntable inet filter {\n\tchain input {\n\t\t%s\n\t}\n}\n\ninclude %q\n", chain, included),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-ec", `nft -f "$1"; nft -f "$1"; nft --numeric-protocol list chain inet filter input`, "nft", whole).CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	rules := ruleLines(string(out))
	if len(rules) < len(want) {
		t.Fatalf("the chain is\n%s", out)
	}
	ours := rules[:len(want)]
	slices.Sort(ours)
	if diff := cmp.Diff(want, ours); diff != "" {
		t.Errorf("the chain begins with (-want +got):\n%s", diff)
	}
	had := ruleLines("{\n{\n" + chain + "\n}\n}")
	if diff := cmp.Diff(had, rules[len(want):]); diff != "" {
		t.Errorf("behind the snippet's come (-want +got):\n%s", diff)
	}
}

// ruleLines are the rules of a chain as nft writes them.
func ruleLines(chain string) []string {
	rules := []string{}
	for line := range strings.Lines(chain) {
		switch line = strings.TrimSpace(line); {
		case line == "}", strings.HasSuffix(line, "{"), strings.HasPrefix(line, "type "):
		default:
			rules = append(rules, line)
		}
	}
	return rules
}
