package linux

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// FuzzParseLock reads a list of sockets whose names anybody chose: the virtual routers that come of it are those whose locks have these
// names, each once, and none that this process has locked.
func FuzzParseLock(f *testing.F) {
	f.Add("Num       RefCount Protocol Flags    Type St Inode Path\n0000000000000000: 00000002 00000000 00010000 0001 01 17 @understudy/eth0/71/4\n0: @understudy/eth0/71/6")
	f.Add("@understudy/v0/7/4 @understudy/v0/8/4\n@understudy/v0/192.0.2.10\n@understudy/v0/fe80::1%v0\n@understudy/v0/07/4")
	f.Add("@understudy/v0/256/4\n@understudy/v0/9/5\n@understudy//9/4\n@understudy/v0/9/4/\n@understudy/v0/::ffff:192.0.2.10\n\n \t")
	mine := Router{"v0", 7, false}
	l := &Locks{held: map[Lockable]*os.File{mine: os.Stdin}}
	f.Fuzz(func(t *testing.T, sockets string) {
		list, once := l.others(sockets), map[Router]bool{}
		for _, r := range list {
			if once[r] || r == mine || !strings.Contains(sockets, r.name()) {
				t.Errorf("%q: %+v is listed twice, is this process's, or is not there", sockets, r)
			}
			once[r] = true
		}
		for line := range strings.Lines(sockets) {
			fields := strings.Fields(line)
			x, ok := parseLock(strings.Join(fields[max(len(fields)-1, 0):], ""))
			if r, is := x.(Router); ok != (x != nil) || is && r != mine && !slices.Contains(list, r) {
				t.Errorf("%q: %+v is a lock: %t, and not listed", line, r, ok)
			}
		}
	})
}
