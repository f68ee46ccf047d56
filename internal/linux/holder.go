package linux

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// holdersGap is how long what was seen of the other programs counts.
const holdersGap = time.Second

// holderNames are the programs that set addresses which move, by the names of their processes.
var holderNames = []string{"keepalived", "vrrpd", "ucarp", "pacemakerd", "ctdbd"}

// holders knows which other programs of this host may have set an address.
type holders struct {
	at   time.Time
	text string
}

// likely says who has probably set an address that is not ours, and what to do.
func (h *holders) likely(x address) string {
	if now := time.Now(); h.at.IsZero() || now.Sub(h.at) >= holdersGap {
		h.at, h.text = now, strings.Join(othersRunning("/proc"), ", ")
	}
	switch {
	case h.text != "":
		return fmt.Sprintf("probably %s set it: stop that, or take the address out of its configuration", h.text)
	case x.protocol == unix.RTPROT_KEEPALIVED:
		return "keepalived set it: if it runs, stop it, or take the address out of its configuration; if it was killed, let it start and stop once"
	case x.valid != forever:
		return fmt.Sprintf("something else on this host set it, for %d s more: take it out there", x.valid)
	default:
		return "something else on this host set it, its network configuration or another daemon: take it out there"
	}
}

// othersRunning lists the programs among holderNames that run in our network, as far as can be seen.
func othersRunning(proc string) (list []string) {
	ours, err := os.Readlink(filepath.Join(proc, "thread-self/ns/net"))
	if err != nil {
		return nil
	}
	entries, _ := os.ReadDir(proc) // without it nobody is named
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		comm, err := os.ReadFile(filepath.Join(proc, e.Name(), "comm"))
		name := strings.TrimSpace(string(comm))
		if err != nil || !slices.Contains(holderNames, name) || !toStop(proc, e.Name(), name) {
			continue
		}
		// What may not be looked into may be in our network.
		if theirs, err := os.Readlink(filepath.Join(proc, e.Name(), "ns/net")); err == nil && theirs != ours {
			continue
		}
		list = append(list, fmt.Sprintf("%s (pid %d)", name, pid))
	}
	slices.Sort(list)
	return list[:min(len(list), maxHolders)]
}

// maxHolders bounds how many of them are named.
const maxHolders = 3

// toStop says whether a process runs and was not started by one of the same name: of keepalived's processes the first is the one to
// stop. One that has ended and was not waited for, as in a container without an init, has set nothing that is still here.
func toStop(proc, pid, name string) bool {
	stat, err := os.ReadFile(filepath.Join(proc, pid, "stat"))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // a name of ours has no parenthesis
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return true
	}
	if fields[0] == "Z" {
		return false
	}
	comm, err := os.ReadFile(filepath.Join(proc, fields[1], "comm"))
	return err != nil || strings.TrimSpace(string(comm)) != name
}
