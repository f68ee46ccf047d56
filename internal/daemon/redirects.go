package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// Remarks says of instances, by their names, what a setting of this host lets others do to them. They can run all the same.
//
// An ICMP redirect from the address of a peer has the kernel send the adverts for that peer to whom it names, and nothing that a socket can
// be told keeps it from that. It is so of IPv4 alone: of IPv6 the kernel heeds a redirect only from the router that it sends to now, and
// between two hosts of one link there is none.
func Remarks(cfg *config.Config) map[string]string {
	remarks := map[string]string{}
	for _, i := range cfg.Instances {
		if why := redirected(&i); why != "" {
			remarks[i.Name] = why
		}
	}
	return remarks
}

func redirected(i *node.Instance) string {
	if len(i.Peers) == 0 || !slices.Contains(i.Families(), vrrp.IPv4) {
		return ""
	}
	accepts, err := linux.AcceptsRedirects(i.Interface)
	switch {
	case errors.Is(err, fs.ErrNotExist): // there is no such interface, which is said elsewhere
		return ""
	case err != nil:
		return fmt.Sprintf("whether ICMP redirects can lead its adverts away is not known: %v", err)
	case !accepts:
		return ""
	}
	return "forged ICMP redirects can lead its adverts away from the peers: " +
		linux.SysctlRemedy("net.ipv4.conf.all.accept_redirects = 0", redirectKey(i.Interface)+" = 0")
}

// redirectKey is the setting of an interface as sysctl.d has it: a name may hold a dot where the rest is written with slashes.
func redirectKey(ifName string) string {
	if strings.Contains(ifName, ".") {
		return "net/ipv4/conf/" + ifName + "/accept_redirects"
	}
	return "net.ipv4.conf." + ifName + ".accept_redirects"
}
