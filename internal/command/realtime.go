package command

import "golang.org/x/sys/unix"

// leaveRealtime gives a command that was started by a daemon with real-time scheduling the ordinary one: a check that does not
// end would else take a processor from the daemon and everybody. It may fail for a process that is gone already.
func leaveRealtime(pid int) {
	attr, err := unix.SchedGetAttr(pid, 0)
	if err != nil || attr.Policy != unix.SCHED_FIFO && attr.Policy != unix.SCHED_RR {
		return
	}
	niceness, err := unix.Getpriority(unix.PRIO_PROCESS, pid) // the kernel gives it as 20 less the value that it takes
	if err != nil {
		return
	}
	_ = unix.SchedSetAttr(pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: int32(20 - niceness)}, 0)
}
