package linux

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxRegular bounds what is read of a file, in bytes: what is noted of thousands of instances is some megabytes.
const maxRegular = 256 << 20

// ReadRegular reads a file of the runtime or the state directory. They belong to the daemon's user, and root reads them too, in a cleanup
// by hand: opening what else could lie there must not wait.
func ReadRegular(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxRegular+1))
	if err == nil && len(b) > maxRegular {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxRegular)
	}
	return b, err
}
