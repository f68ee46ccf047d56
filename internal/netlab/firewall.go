package netlab

import (
	"context"
	"fmt"
	"strings"
)

// Rule drops packets at a host: see DropIn and DropOut.
type Rule struct {
	chain string
	match string
}

// DropIn drops what arrives at the host and matches an nftables expression, such as VRRPv4.
func DropIn(match string) Rule { return Rule{chain: "input", match: match} }

// DropOut drops what the host sends and matches an nftables expression. The sender sees EPERM.
func DropOut(match string) Rule { return Rule{chain: "output", match: match} }

// What rules match.
const (
	// VRRPv4 matches VRRP over IPv4.
	VRRPv4 = "meta nfproto ipv4 meta l4proto 112"
	// VRRPv6 matches VRRP over IPv6.
	VRRPv6 = "meta nfproto ipv6 meta l4proto 112"
)

// VRRPPriority matches VRRP adverts of one priority, over both families.
func VRRPPriority(priority uint8) string {
	// The priority is the third byte of the advert in every version (RFC 9568 section 5.1, RFC 3768 section 5.1).
	return fmt.Sprintf("meta l4proto 112 @th,16,8 %d", priority)
}

// Firewall replaces the host's packet filter. Without rules it drops nothing.
func (h *Host) Firewall(ctx context.Context, rules ...Rule) error {
	var script strings.Builder
	script.WriteString("table inet lab\ndelete table inet lab\ntable inet lab {\n")
	for _, chain := range []string{"input", "output"} {
		fmt.Fprintf(&script, "\tchain %[1]s {\n\t\ttype filter hook %[1]s priority -10; policy accept;\n", chain)
		for _, r := range rules {
			if r.chain == chain {
				fmt.Fprintf(&script, "\t\t%s drop\n", r.match)
			}
		}
		script.WriteString("\t}\n")
	}
	script.WriteString("}\n")
	if err := nft(ctx, h.ns, script.String()); err != nil {
		return fmt.Errorf("firewall of %s: %w", h.name, err)
	}
	return nil
}

// nft runs a script in a namespace; it applies whole or not at all.
func nft(ctx context.Context, n *namespace, script string) error {
	_, err := run(ctx, script, "ip", "netns", "exec", n.name, "nft", "-f", "-")
	return err
}
