package linux

import (
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
)

// macvlanAlias begins the alias of every macvlan of an understudy: whoever finds one knows what it is. markedBy begins its end, which
// tells the daemons of a host apart; a device of a release that did not know several has none.
const (
	macvlanAlias = "understudy: "
	markedBy     = " (daemon "
)

// firstMetric is the least metric of our routes: a host's own to the same network comes before them.
const firstMetric = 1 << 30

// numberOf tells the daemons of a host apart, by their runtime directories: the one that is started after a death has the same.
func numberOf(runtimeDir string) uint32 {
	path, err := filepath.Abs(runtimeDir)
	if err == nil {
		runtimeDir = path
	}
	if path, err = filepath.EvalSymlinks(runtimeDir); err == nil {
		runtimeDir = path
	}
	h := fnv.New32a()
	h.Write([]byte(runtimeDir))
	return h.Sum32()
}

// markOf is how the devices of a daemon are known.
func markOf(runtimeDir string) string { return fmt.Sprintf("%s%08x)", markedBy, numberOf(runtimeDir)) }

// metricOf is how the routes of a daemon are known: the kernel keeps one for each metric, whoever else has one to the same network.
func metricOf(runtimeDir string) int { return firstMetric + int(numberOf(runtimeDir)>>2) }

// aliasOwner says of the alias of a device whether it is an understudy's, and whether it names another daemon than the one of a mark.
func aliasOwner(alias, mark string) (understudy, others bool) {
	if !strings.HasPrefix(alias, macvlanAlias) {
		return false, false
	}
	return true, strings.Contains(alias, markedBy) && !strings.HasSuffix(alias, mark)
}

// alias is what marks the device as that of a daemon.
func (m Macvlan) alias(mark string) string {
	return fmt.Sprintf("%svirtual router %d of %s%s", macvlanAlias, m.VRID, m.Owner, mark)
}

// ours says whether a device was made by this daemon, or by one before it with the same runtime directory: it has our mark, or is in
// the book and has nobody's.
func (s *Macvlans) ours(link netlink.Link) bool {
	at := link.Attrs()
	understudy, others := aliasOwner(at.Alias, s.mark)
	if understudy && strings.HasSuffix(at.Alias, s.mark) {
		return true
	}
	return !others && link.Type() == "macvlan" && s.book.has(at.Name)
}
