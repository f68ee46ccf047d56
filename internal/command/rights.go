package command

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MaySwitch says whether this process may run commands as other users, which takes CAP_SETUID and CAP_SETGID.
func MaySwitch() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	const both = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	return data[0].Effective&both == both
}

// UID is a user's, by name or number, as Spec.User has it.
func UID(name string) (uint32, error) {
	acc, err := lookUpAccount(name)
	return acc.uid, err
}

// OwnUser says whether a user, as Spec.User has it, is this process's own. One that does not exist is nobody's.
func OwnUser(name string) bool {
	uid, err := UID(name)
	return err == nil && uid == uint32(os.Geteuid())
}

// UserName is for messages: the name of a uid with its number, or the number alone.
func UserName(uid uint32) string {
	number := fmt.Sprintf("uid %d", uid)
	if name := userName(uid); name != number {
		return fmt.Sprintf("%s (%s)", name, number)
	}
	return number
}
