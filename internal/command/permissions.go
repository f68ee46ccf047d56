package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links one path may lead through: the kernel's own limit.
const maxLinks = 40

// writers are who may write what is trusted: root, and perhaps others.
type writers struct {
	uids []uint32 // beside 0
	// danger says what would happen, as in "FILE is unsafe to run"; others who is none of them.
	danger, others string
	// sticky says that a directory with a sticky bit will do for what one of them has in it: that nobody else can rename or remove.
	sticky bool
}

// writersOf are those who may replace a command's program.
func writersOf(s Spec, acc account) writers {
	if s.OnlyRoot {
		return writers{danger: "run", others: "not to root; only what nobody else can replace is run through the helper"}
	}
	return writers{uids: []uint32{acc.uid}, danger: "run", others: fmt.Sprintf("who is neither root nor the user that runs it (%s)", acc.name)}
}

// OnlyRoot refuses a file or directory that anybody but root may write or replace, as Spec.OnlyRoot does a program.
func OnlyRoot(path string) error {
	return checkAbsolute(path, writers{danger: "trust", others: "not to root"})
}

// OnlyUsers is OnlyRoot with users who may do so too, whom others, as in "who is neither root nor ..." tells apart from the rest. It is
// for a file that is there: what one of them has in a sticky directory, as on a Secret volume of Kubernetes, nobody else can replace.
func OnlyUsers(path string, users []uint32, others string) error {
	return checkAbsolute(path, writers{uids: users, danger: "trust", others: others, sticky: true})
}

// LinkError says whose link on the way to a file is not to be trusted. Ask for it before the file is opened: where fs.protected_symlinks is
// 1 the kernel does not follow such a link, for root neither, and says only that it is not permitted.
type LinkError struct{ text string }

func (e *LinkError) Error() string { return e.text }

func checkAbsolute(path string, w writers) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("check who may write %s: %w", path, err)
	}
	return checkPermissions(path, w)
}

// checkPermissions refuses a path that somebody else than its writers may replace: every directory on the way, through
// every symbolic link, and the file itself must belong to one of them and be writable by nobody else. A sticky bit does
// not save a world-writable directory, unless w.sticky: anyone may create what is missing.
func checkPermissions(path string, w writers) error {
	todo := strings.Split(strings.TrimPrefix(path, "/"), "/")
	at := "/"
	if err := checkComponent(path, at, w); err != nil {
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
			if err := checkComponent(path, at, w); err != nil {
				return err
			}
			continue
		}
		if links++; links > maxLinks {
			return fmt.Errorf("check who may write %s: %w", path, syscall.ELOOP)
		}
		if err := checkLink(path, at, info, w); err != nil {
			return err
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
func checkComponent(path, at string, w writers) error {
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
	case !w.have(stat):
		return fmt.Errorf("%s is unsafe to %s: %s (mode %04o) belongs to %s, %s; chown root %s",
			path, w.danger, at, mode, userName(stat.Uid), w.others, at)
	case w.sticky && isSticky(info):
		return nil // whose is what stands in it is judged next
	case mode&syscall.S_ISVTX != 0 && mode&0o002 != 0:
		return fmt.Errorf("%s is unsafe to %s: everybody may write to %s (mode %04o); keep it where only root can write, such as /etc/understudy",
			path, w.danger, at, mode)
	case mode&0o022 == 0o022:
		return fmt.Errorf("%s is unsafe to %s: everybody may write to %s (mode %04o); chmod go-w %s", path, w.danger, at, mode, at)
	case mode&0o002 != 0:
		return fmt.Errorf("%s is unsafe to %s: everybody may write to %s (mode %04o); chmod o-w %s", path, w.danger, at, mode, at)
	case mode&0o020 != 0:
		return fmt.Errorf("%s is unsafe to %s: group %s may write to %s (mode %04o); chmod g-w %s",
			path, w.danger, groupName(stat.Gid), at, mode, at)
	}
	return nil
}

// checkLink judges a symbolic link: it has no mode, and only in a sticky directory it matters whose it is.
func checkLink(path, at string, info fs.FileInfo, w writers) error {
	parent, err := os.Lstat(filepath.Dir(at))
	if err != nil {
		return fmt.Errorf("check who may write %s: %w", path, err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); isSticky(parent) && ok && !w.have(stat) {
		return &LinkError{fmt.Sprintf("%s is unsafe to %s: %s, a link in a directory that others may write to, belongs to %s, %s; chown -h root %s",
			path, w.danger, at, userName(stat.Uid), w.others, at)}
	}
	return nil
}

// unfollowed says of a path that root may not look at, as err tells, who may replace it: there is another user's link in a sticky directory,
// see LinkError. nil: another reason.
func unfollowed(path string, w writers, err error) error {
	if os.Geteuid() != 0 || !errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if why := checkPermissions(path, w); !errors.Is(why, fs.ErrPermission) {
		return why
	}
	return nil
}

// have says whether root or one of the others owns something.
func (w writers) have(stat *syscall.Stat_t) bool {
	return stat.Uid == 0 || slices.Contains(w.uids, stat.Uid)
}

func isSticky(info fs.FileInfo) bool { return info.IsDir() && info.Mode()&fs.ModeSticky != 0 }
