package command

import "golang.org/x/sys/unix"

// leaveRealtime gives a command that was started by a daemon with real-time scheduling the ordinary one: a check that does not
// end would else take a processor from the daemon and everybody. It may fail for a process that is gone already.
func leaveRealtime(pid int) {
	attr, err := unix.SchedGetAttr(pid, 0)
	if err != nil || attr.Policy != unix.SCHED_FIFO && attr.Policy != unix.SCHED_RR {
		return
	}
	_ = unix.SchedSetAttr(pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
}
