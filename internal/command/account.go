package command

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is the user that a command runs as.
type account struct {
	name string
	uid  uint32
	cred *syscall.Credential // nil: the daemon's own credentials
}

// lookUpAccount finds a user by name or, if there is none of that name, by number. A number that no user has is
// refused: its groups would be a guess.
func lookUpAccount(name string) (account, error) {
	own := uint32(os.Geteuid())
	if name == "" {
		return account{name: userName(own), uid: own}, nil
	}
	u, err := user.Lookup(name)
	if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
		if _, numeric := strconv.ParseUint(name, 10, 32); numeric == nil {
			u, err = user.LookupId(name)
		}
	}
	if err != nil {
		if unknownUser(err) {
			return account{}, fmt.Errorf("user %q does not exist on this host", name)
		}
		return account{}, fmt.Errorf("look up user %q: %w", name, err)
	}
	uid, err := parseID(u.Uid)
	if err != nil {
		return account{}, fmt.Errorf("uid of user %q: %w", name, err)
	}
	if uid == own {
		return account{name: u.Username, uid: uid}, nil
	}
	cred, err := credential(u, uid)
	if err != nil {
		return account{}, fmt.Errorf("groups of user %q: %w", name, err)
	}
	return account{name: u.Username, uid: uid, cred: cred}, nil
}

func unknownUser(err error) bool {
	_, byName := errors.AsType[user.UnknownUserError](err)
	_, byID := errors.AsType[user.UnknownUserIdError](err)
	return byName || byID
}

func credential(u *user.User, uid uint32) (*syscall.Credential, error) {
	gid, err := parseID(u.Gid)
	if err != nil {
		return nil, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	groups := make([]uint32, 0, len(ids))
	for _, id := range ids {
		group, err := parseID(id)
		if err != nil {
			return nil, err
		}
		groups = append(groups, group)
	}
	return &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}, nil
}

func parseID(s string) (uint32, error) {
	id, err := strconv.ParseUint(s, 10, 32)
	return uint32(id), err
}

// userName is for messages: the name of a uid, or its number.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// groupName is for messages: the name of a gid, or its number.
func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return "gid " + id
}
