package machines

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// cgroupRoot is where control groups are mounted.
	cgroupRoot = "/sys/fs/cgroup"
	// emptyBound is how long a control group may take to be empty after its processes were killed.
	emptyBound = 10 * time.Second
)

// groups are the control groups of one machine: systemd on it takes over what is below them. Two machines in one group would
// look after each other's services.
type groups []string

// unified says whether the kernel's one new hierarchy is all there is.
func unified() bool {
	_, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers"))
	return err == nil
}

// newGroups makes the control groups of a machine, below those of this process: in the hierarchies in which systemd keeps its
// services.
func newGroups(name string) (groups, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	mounts := map[string]string{"": "unified", "name=systemd": "systemd"}
	if unified() {
		mounts = map[string]string{"": "."}
	}
	var g groups
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		mount, ok := mounts[fields[1]]
		if !ok {
			continue
		}
		parent := filepath.Join(cgroupRoot, mount, fields[2])
		if _, err := os.Stat(parent); err != nil { // a container sees its own group as the root
			parent = filepath.Join(cgroupRoot, mount)
		}
		if err := sweepGroups(parent); err != nil {
			return nil, err
		}
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("make control group: %w", err), g.remove())
		}
		g = append(g, dir)
	}
	if len(g) == 0 {
		return nil, fmt.Errorf("systemd's control groups are not mounted in %s", cgroupRoot)
	}
	return g, nil
}

// sweepGroups removes the groups that a test which was killed has left: they are named after its process.
func sweepGroups(parent string) error {
	left, err := filepath.Glob(filepath.Join(parent, "netlab-*-*-*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		pid := strings.Split(filepath.Base(dir), "-")[1]
		if _, err := os.Stat(filepath.Join("/proc", pid)); errors.Is(err, fs.ErrNotExist) {
			_ = removeGroup(dir) // where its machine still ends, the next one removes it
		}
	}
	return nil
}

// remove removes the groups, which must be without processes, and those that systemd made in them.
func (g groups) remove() error {
	var errs []error
	for _, dir := range g {
		deadline := time.Now().Add(emptyBound)
		err := removeGroup(dir)
		for ; err != nil && time.Now().Before(deadline); err = removeGroup(dir) {
			time.Sleep(10 * time.Millisecond)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func removeGroup(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) && len(dirs) == 0 {
		return nil
	}
	for _, path := range slices.Backward(dirs) {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
