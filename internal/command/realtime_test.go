package command_test

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/command"
)

// TestRealtimeIsNotHandedDown: the policy is field 41 of /proc/PID/stat. The command may look before it was changed, and looks
// again then.
func TestRealtimeIsNotHandedDown(t *testing.T) {
	needRoot(t)
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0); err != nil {
		t.Fatalf("real-time scheduling for this thread: %v", err)
	}
	out, err := command.Run(t.Context(), script(t, `
for look in 1 2 3 4 5 6 7 8 9 10; do
	read -r stat </proc/$$/stat
	set -- ${stat##*) }
	shift 38
	[ "$1" != 0 ] || exit 0
	sleep 0.1
done
echo "policy $1"
exit 1
`))
	if err != nil {
		t.Errorf("%v: %s", err, out.Output)
	}
}
