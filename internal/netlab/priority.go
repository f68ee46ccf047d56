package netlab

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// niceness is far before what else runs on the machine, and behind what the kernel needs.
const niceness = -15

// Prioritise puts this process, and whatever it starts from then on, before other programs of the machine, so that their load is
// not measured as a failover. It needs CAP_SYS_NICE; without it everything works, on a quiet machine as well as with it.
func Prioritise() error {
	// Linux keeps the priority by thread. A second look finds those that were started during the first by one not yet reached.
	for range 2 {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list the process's own threads: %w", err)
		}
		for _, t := range threads {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return fmt.Errorf("list the process's own threads: %w", err)
			}
			err = unix.Setpriority(unix.PRIO_PROCESS, tid, niceness)
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("raise the priority of thread %d: %w", tid, err)
			}
		}
	}
	return nil
}
