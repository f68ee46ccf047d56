package checks

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// oldSuffix is what nginx appends to its pid file's name while a new binary takes over (USR2).
const oldSuffix = ".oldbin"

// maxPIDFile is how much of a pid file is read; the longest pid has 7 digits.
const maxPIDFile = 64

// pidFile finds the process that a pid file names.
type pidFile struct {
	path, root string
	// known are the processes that the two files named at the last run. A pid file that did not change while its
	// process did is a stale one whose pid was given to somebody else.
	known map[fileID]process
}

// fileID tells one writing of a file from the next. It stays when the file is renamed.
type fileID struct {
	dev, ino uint64
	modified syscall.Timespec
	pid      int
}

// locate reads the pid file again. nginx's upgrade renames it to .oldbin, and the new master creates and then fills
// it; if the new one dies, the old one renames it back. Through all of it the file with the suffix names a master
// that serves, so that one counts when the file itself names nobody.
func (f *pidFile) locate() (process, string, error) {
	seen := make(map[fileID]process)
	defer func() { f.known = seen }()
	p, err := f.resolve(f.path, seen)
	if err == nil {
		return p, runs(p), nil
	}
	if old, oldErr := f.resolve(f.path+oldSuffix, seen); oldErr == nil {
		return old, fmt.Sprintf("pid %d runs, of %s%s: a new binary is taking over", old.pid, f.path, oldSuffix), nil
	}
	// Between our two looks the file may have come back, or the new master may have filled it.
	if p, again := f.resolve(f.path, seen); again == nil {
		return p, runs(p), nil
	}
	return process{}, "", err
}

// resolve reads one file and its process, and remembers them in seen.
func (f *pidFile) resolve(path string, seen map[fileID]process) (process, error) {
	id, err := readPIDFile(path)
	if err != nil {
		return process{}, err
	}
	p, err := readProcess(f.root, id.pid)
	if before, ok := f.known[id]; ok {
		seen[id] = before
		if err == nil && !p.same(before) {
			return process{}, fmt.Errorf("pid %d of %s is now another process, %s: the file is stale", id.pid, path, p.comm)
		}
	}
	switch {
	case err != nil:
		return process{}, fmt.Errorf("pid %d of %s: %w", id.pid, path, err)
	case isThread(f.root, id.pid):
		return process{}, fmt.Errorf("pid %d of %s is a thread of another process: the file is stale", id.pid, path)
	}
	seen[id] = p
	return p, nil
}

func readPIDFile(path string) (fileID, error) {
	// A fifo in its place must not hold us.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return fileID{}, fmt.Errorf("pid file %s does not exist", path)
	}
	if err != nil {
		return fileID{}, fmt.Errorf("read pid file: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return fileID{}, fmt.Errorf("read pid file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fileID{}, fmt.Errorf("pid file %s is not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxPIDFile))
	if err != nil {
		return fileID{}, fmt.Errorf("read pid file: %w", err)
	}
	pid, err := parsePID(string(text))
	if err != nil {
		return fileID{}, fmt.Errorf("pid file %s: %w", path, err)
	}
	id := fileID{pid: pid}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		id.dev, id.ino, id.modified = stat.Dev, stat.Ino, stat.Mtim
	}
	return id, nil
}

// parsePID takes the first word of a pid file; some programs write more after it.
func parsePID(text string) (int, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return 0, errors.New("it is empty")
	}
	pid, err := strconv.ParseUint(words[0], 10, 31)
	if err != nil || pid == 0 {
		return 0, fmt.Errorf("%.20q is not a process id", words[0])
	}
	return int(pid), nil
}
