package checks

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// process is one process as /proc/PID/stat shows it. A pid alone names nobody, since the kernel gives it out again; with the
// start time it does.
type process struct {
	pid    int
	comm   string // the first 15 bytes of the program's name
	state  byte
	parent int
	start  uint64 // clock ticks since boot
}

// String is for reasons: "nginx (pid 812)".
func (p process) String() string { return fmt.Sprintf("%s (pid %d)", p.comm, p.pid) }

// same tells whether two readings show one process.
func (p process) same(q process) bool { return p.pid == q.pid && p.start == q.start }

// ended tells of a process that only its parent has to take notice of: a zombie, or dead already.
func (p process) ended() bool { return p.state == 'Z' || p.state == 'X' || p.state == 'x' }

var errNotRunning = errors.New("no such process")

// readProcess reads one process from a proc file system; errNotRunning when there is none that lives.
func readProcess(root string, pid int) (process, error) {
	text, err := os.ReadFile(filepath.Join(root, strconv.Itoa(pid), "stat"))
	switch {
	case errors.Is(err, os.ErrNotExist) && hidden(pid):
		return process{}, errors.New("it runs, but /proc is mounted with hidepid and hides it from this daemon")
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ESRCH):
		return process{}, errNotRunning
	case err != nil:
		return process{}, err
	}
	p, err := parseStat(text)
	if err != nil {
		return process{}, err
	}
	if p.ended() {
		return p, fmt.Errorf("it is a zombie: %w", errNotRunning)
	}
	return p, nil
}

// hidden tells of a process that a signal could find but /proc does not show.
func hidden(pid int) bool {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return false
	}
	return errors.Is(syscall.Kill(pid, 0), syscall.EPERM)
}

// parseStat parses /proc/PID/stat (proc_pid_stat(5)). The second field is in parentheses and may hold anything, also
// spaces and parentheses, so it ends at the last one.
func parseStat(text []byte) (process, error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return process{}, fmt.Errorf("no process name in %.60q", text)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:open])))
	if err != nil || pid <= 0 {
		return process{}, fmt.Errorf("no pid in %.60q", text)
	}
	// Of the rest, state is field 3, ppid 4, starttime 22.
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) < 20 || len(fields[0]) != 1 {
		return process{}, fmt.Errorf("too few fields in %.60q", text)
	}
	p := process{pid: pid, comm: string(text[open+1 : end]), state: fields[0][0]}
	if p.parent, err = strconv.Atoi(fields[1]); err != nil {
		return process{}, fmt.Errorf("parent: %w", err)
	}
	if p.start, err = strconv.ParseUint(fields[19], 10, 64); err != nil {
		return process{}, fmt.Errorf("start time: %w", err)
	}
	return p, nil
}

// isThread tells whether a number names a thread of another process: /proc shows those too when asked by number.
func isThread(root string, pid int) bool {
	text, err := os.ReadFile(filepath.Join(root, strconv.Itoa(pid), "status"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if group, ok := strings.CutPrefix(line, "Tgid:"); ok {
			return strings.TrimSpace(group) != strconv.Itoa(pid)
		}
	}
	return false
}

// commandLine is a process's argv, or the title that it gave itself, with spaces between; "" for kernel threads.
func commandLine(root string, pid int) string {
	text, err := os.ReadFile(filepath.Join(root, strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return ""
	}
	return strings.TrimRight(strings.ReplaceAll(string(text), "\x00", " "), " ")
}

// allProcesses reads every living process, ours left out. Those that end meanwhile are not there.
func allProcesses(root string) ([]process, error) {
	dir, err := os.Open(root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, err := readProcess(root, pid); err == nil {
			all = append(all, p)
		}
	}
	return all, nil
}
