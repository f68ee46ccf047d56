package linux

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exec makes this process another program, with the same number, arguments and environment. The files are inherited; their
// descriptors stand in an environment variable, for Inherit. So are the capabilities, which DropAmbient keeps from all other
// programs, and the other sockets and watches, which the new program closes once it has its own: closing a packet socket or a
// watch takes the kernel up to tens of milliseconds, and the last socket of a multicast group would leave the group. It returns
// only if it failed, and then nothing has changed.
func Exec(path, variable string, files ...syscall.Conn) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	syscall.ForkLock.Lock() // a program that is started at this instant inherits none of them
	defer syscall.ForkLock.Unlock()
	var wanted []int
	for _, f := range files {
		raw, err := f.SyscallConn()
		if err != nil {
			return err
		}
		if err := raw.Control(func(fd uintptr) { wanted = append(wanted, int(fd)) }); err != nil {
			return err
		}
	}
	for _, fd := range slices.Concat(wanted, slowToClose(wanted)) {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		defer unix.CloseOnExec(fd)
	}
	lower, err := raiseAmbient()
	defer lower()
	if err != nil {
		return err
	}
	env := append(without(os.Environ(), variable), variable+"="+joined(wanted))
	if err := syscall.Exec(path, os.Args, env); err != nil {
		return fmt.Errorf("execute %s: %w", path, err)
	}
	return nil
}

// slowToClose lists the sockets and watches that are open, but for some.
func slowToClose(wanted []int) (list []int) {
	const fds = "/proc/self/fd"
	entries, _ := os.ReadDir(fds) // without it the kernel closes them at once
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 || slices.Contains(wanted, fd) {
			continue
		}
		is, _ := os.Readlink(filepath.Join(fds, e.Name()))
		if strings.HasPrefix(is, "socket:") || is == "anon_inode:inotify" {
			list = append(list, fd)
		}
	}
	return list
}

// joined writes numbers for an environment variable.
func joined(numbers []int) string {
	words := make([]string, len(numbers))
	for k, n := range numbers {
		words[k] = strconv.Itoa(n)
	}
	return strings.Join(words, ":")
}

// Inherit returns the files that Exec let this process inherit, and those that are to be closed; none if it was started in
// another way. It is called once, before any program is started and any socket opened.
func Inherit(variable string) (files, stale []*os.File, err error) {
	text, set := os.LookupEnv(variable)
	if !set {
		return nil, nil, nil
	}
	if err := os.Unsetenv(variable); err != nil {
		return nil, nil, err
	}
	var wanted []int
	for word := range strings.SplitSeq(text, ":") {
		fd, err := strconv.ParseUint(word, 10, 31)
		if err == nil {
			_, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		}
		if err != nil || fd <= 2 || slices.Contains(wanted, int(fd)) {
			return nil, nil, fmt.Errorf("%s=%q names no inherited files", variable, text)
		}
		wanted = append(wanted, int(fd))
	}
	return inherited(wanted), inherited(slowToClose(wanted)), nil
}

// inherited makes files of descriptors that no further program is to have.
func inherited(fds []int) (files []*os.File) {
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "inherited "+strconv.Itoa(fd)))
	}
	return files
}
