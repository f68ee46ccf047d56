package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links one path may lead through: the kernel's own limit.
const maxLinks = 40

// checkPermissions refuses a program that somebody other than root and the user who runs it may replace: every
// directory on the way, through every symbolic link, and the file itself must belong to one of the two and be
// writable by nobody else. A sticky bit does not save a world-writable directory: anyone may create what is missing.
func checkPermissions(path string, acc account) error {
	todo := strings.Split(strings.TrimPrefix(path, "/"), "/")
	at := "/"
	if err := checkComponent(path, at, acc); err != nil {
		return err
	}
	for links := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		at = filepath.Join(at, name)
		info, err := os.Lstat(at)
		if err != nil {
			return fmt.Errorf("check who may write %s: %w", path, err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			if err := checkComponent(path, at, acc); err != nil {
				return err
			}
			continue
		}
		if links++; links > maxLinks {
			return fmt.Errorf("check who may write %s: %w", path, syscall.ELOOP)
		}
		target, err := os.Readlink(at)
		if err != nil {
			return fmt.Errorf("check who may write %s: %w", path, err)
		}
		at = filepath.Dir(at)
		if filepath.IsAbs(target) {
			at = "/"
		}
		todo = append(strings.Split(strings.TrimPrefix(target, "/"), "/"), todo...)
	}
	return nil
}

// checkComponent judges one directory or file on the way to path.
func checkComponent(path, at string, acc account) error {
	info, err := os.Lstat(at)
	if err != nil {
		return fmt.Errorf("check who may write %s: %w", path, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("check who may write %s: %w", path, errors.ErrUnsupported)
	}
	mode := stat.Mode & 0o7777
	switch {
	case stat.Uid != 0 && stat.Uid != acc.uid:
		return fmt.Errorf("%s is unsafe to run: %s (mode %04o) belongs to %s, who is neither root nor the user that runs it (%s); chown root %s",
			path, at, mode, userName(stat.Uid), acc.name, at)
	case mode&syscall.S_ISVTX != 0 && mode&0o002 != 0:
		return fmt.Errorf("%s is unsafe to run: everybody may write to %s (mode %04o); keep it where only root can write, such as /etc/understudy",
			path, at, mode)
	case mode&0o022 == 0o022:
		return fmt.Errorf("%s is unsafe to run: everybody may write to %s (mode %04o); chmod go-w %s", path, at, mode, at)
	case mode&0o002 != 0:
		return fmt.Errorf("%s is unsafe to run: everybody may write to %s (mode %04o); chmod o-w %s", path, at, mode, at)
	case mode&0o020 != 0:
		return fmt.Errorf("%s is unsafe to run: group %s may write to %s (mode %04o); chmod g-w %s",
			path, groupName(stat.Gid), at, mode, at)
	}
	return nil
}
