package linux

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// memfdNoExecSeal is MFD_NOEXEC_SEAL of Linux 6.3: some hosts want it said that what is in memory is no program.
const memfdNoExecSeal = 0x8

// The seals of a file in memory that nobody changes any more.
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// NewSealed makes a file in memory that nobody can change.
func NewSealed(name string, content []byte) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|memfdNoExecSeal)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(content); err != nil {
		return nil, abandon(fmt.Errorf("write a file in memory: %w", err), f)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, abandon(fmt.Errorf("seal a file in memory: %w", err), f)
	}
	return f, nil
}

// ReadSealed reads a file that NewSealed made, in this process or another, up to a bound.
func ReadSealed(f *os.File, bound int64) ([]byte, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	has, sealErr := 0, error(nil)
	if err := raw.Control(func(fd uintptr) { has, sealErr = unix.FcntlInt(fd, unix.F_GET_SEALS, 0) }); err != nil {
		return nil, err
	}
	if sealErr != nil || has&seals != seals {
		return nil, errors.New("it is no sealed file in memory")
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > bound {
		return nil, fmt.Errorf("it has %d bytes, more than %d", info.Size(), bound)
	}
	return io.ReadAll(io.NewSectionReader(f, 0, info.Size()))
}
