package command

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MayRead says why a user, as Spec.User has it, could not read a file: what root finds out for a daemon that is not root. It is nil also
// where this process has not the rights to find out.
func MayRead(path, user string) error {
	acc, err := lookUpAccount(user)
	if err != nil || acc.cred == nil || !MaySwitch() {
		return err
	}
	answer := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this, since the kernel takes it for that user
		answer <- openAs(path, acc.cred)
	}()
	return <-answer
}

// openAs opens a file as a user would, and closes it again. Only this thread is changed, which Go's own Setgroups does to all.
func openAs(path string, cred *syscall.Credential) error {
	groups := uintptr(unsafe.Pointer(unsafe.SliceData(cred.Groups)))
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(cred.Groups)), groups, 0); errno != 0 {
		return nil
	}
	_, _ = unix.SetfsgidRetGid(int(cred.Gid)) // the calls cannot fail, and say what was before
	_, _ = unix.SetfsuidRetUid(int(cred.Uid))
	if is, _ := unix.SetfsuidRetUid(-1); is != int(cred.Uid) {
		return nil
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	return unix.Close(fd)
}
