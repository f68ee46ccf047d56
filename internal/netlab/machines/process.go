package machines

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// depth bounds how far below the supervisor the first process of its container is: it is a child or a grandchild.
const depth = 8

// firstProcess is the id, as this machine counts, of the first process of the container that a supervisor runs; 0 if there is
// none yet.
func firstProcess(supervisor int) int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && innermost(pid) == 1 && descends(pid, supervisor) {
			return pid
		}
	}
	return 0
}

// innermost is a process's id as it counts itself, where it is in a process namespace of its own.
func innermost(pid int) int {
	fields := strings.Fields(status(pid, "NSpid"))
	if len(fields) < 2 {
		return 0
	}
	own, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		return 0
	}
	return own
}

func descends(pid, ancestor int) bool {
	for range depth {
		parent, err := strconv.Atoi(strings.TrimSpace(status(pid, "PPid")))
		if err != nil || parent <= 1 {
			return false
		}
		if parent == ancestor {
			return true
		}
		pid = parent
	}
	return false
}

// status is a line of /proc/PID/status.
func status(pid int, key string) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return value
		}
	}
	return ""
}
