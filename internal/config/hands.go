package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/command"
)

// packagedUser is the user that the packages have the daemon run as.
const packagedUser = "understudy"

// helperUnits are where the helper's socket unit may be: the daemon's unit starts it too, so that a configuration that is validated
// before the first start will have it.
var helperUnits = []string{
	"/etc/systemd/system/understudy-helper.socket", "/usr/lib/systemd/system/understudy-helper.socket", "/lib/systemd/system/understudy-helper.socket",
}

// hands says who runs the commands of checks and hooks on this machine.
type hands struct {
	uid       uint32 // the daemon's user
	anybody   bool   // the daemon may run commands as any user
	door      bool   // it has the helper run them
	socket    string // the helper's; empty: none
	elsewhere string // why it has not
}

// hands looks at this process, which is the daemon, or for validate at what was installed here: it can be run by anybody, so
// where the daemon's user is not here nothing is known, and nothing said.
func (o Options) hands() hands { return o.handsOf(packagedUser) }

func (o Options) handsOf(packaged string) hands {
	h := hands{uid: uint32(os.Geteuid()), anybody: command.MaySwitch()}
	if !o.OnThisHost {
		u, err := user.Lookup(packaged)
		if err != nil || o.Helper == "" {
			return hands{anybody: true}
		}
		id, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return hands{anybody: true}
		}
		h = hands{uid: uint32(id)}
	}
	switch {
	case h.uid == 0:
		h.elsewhere = "it lacks CAP_SETUID and CAP_SETGID"
	case o.Helper == "":
		h.elsewhere = "no helper is used"
	default:
		h.socket = o.Helper
		h.elsewhere = "no helper listens at " + o.Helper
		info, err := os.Stat(o.Helper)
		h.door = err == nil && info.Mode()&fs.ModeSocket != 0 || !o.OnThisHost && slices.ContainsFunc(helperUnits, exists)
	}
	return h
}

// remedy is what gives commands their users.
func (h hands) remedy() string {
	if h.uid == 0 {
		return "give the daemon these capabilities"
	}
	return "run: systemctl start understudy-helper.socket"
}

// judgeHookUser says where a hook runs as somebody else than is written.
func (l *loader) judgeHookUser(b block, name string) {
	switch h := l.hands; {
	case h.door:
	case name == "" && h.uid != 0:
		l.warnHere(b.at, fmt.Sprintf("%s, or write user = %q", h.remedy(), h.name()),
			"this hook runs as %s and not as root: the daemon is not root, and %s", command.UserName(h.uid), h.elsewhere)
	case name != "" && !l.mayBecome(name):
		l.warnHere(b.at, h.remedy(), "this hook cannot run as %q: the daemon is %s, and %s", name, command.UserName(h.uid), h.elsewhere)
	}
}

// judgeCheckUser says that a check cannot run as its user.
func (l *loader) judgeCheckUser(o checks.Options) error {
	c, ok := o.(checks.Commander)
	if !ok || l.hands.door || c.RunsAs() == "" || l.mayBecome(c.RunsAs()) {
		return nil
	}
	return fmt.Errorf("not as %q: the daemon is %s, and %s; %s", c.RunsAs(), command.UserName(l.hands.uid), l.hands.elsewhere, l.hands.remedy())
}

// mayBecome says whether the daemon can run a command as a user. One that is unknown was reported already.
func (l *loader) mayBecome(name string) bool {
	uid, err := command.UID(name)
	return l.hands.anybody || err != nil || uid == l.hands.uid
}

// asksHelper says whether the helper runs a check, and as what.
func (l *loader) asksHelper(o checks.Options) (checks.Command, bool) {
	c, ok := o.(checks.Commander)
	if !ok || !l.hands.door || c.RunsAs() == "" {
		return nil, false
	}
	if uid, err := command.UID(c.RunsAs()); err == nil && uid == l.hands.uid {
		return nil, false
	}
	return c.Privileged(), true
}

// judgeTrust says of each file that is read that the helper would refuse it. Where it runs a check, the daemon would do so in
// vain.
func (l *loader) judgeTrust(list []check, hooks []hook) {
	asked := slices.ContainsFunc(list, func(c check) bool {
		_, asked := l.asksHelper(c.Options)
		return asked
	})
	switch {
	case !l.onThisHost && !l.inPlace:
		return
	case !l.hands.door:
		l.judgeOpen()
		return
	case !asked && len(hooks) == 0:
		return
	}
	say := l.warnHere
	if asked {
		say = l.amiss
	}
	for _, s := range l.files.sources {
		if err := command.OnlyRoot(s.Path); err != nil && !errors.Is(err, fs.ErrPermission) {
			say(startOf(s), "", "the helper runs nothing while this is so: %v", err)
		}
	}
}

// judgeOpen warns of what everybody can write where no helper looks at it: they would say what the daemon runs, and what it holds.
func (l *loader) judgeOpen() {
	for _, s := range l.files.sources {
		if info, err := os.Stat(s.Path); err == nil && info.Mode().Perm()&0o002 != 0 {
			l.warnHere(startOf(s), "run: chmod go-w "+s.Path, "everybody may write to %s (mode %04o)", s.Path, info.Mode().Perm())
		}
	}
}

// another says that the daemon is known to be another user than this process: then validate looks for that one.
func (h hands) another() bool { return !h.anybody && h.uid != uint32(os.Geteuid()) }

// name is the daemon's user as it is written in a configuration.
func (h hands) name() string {
	id := strconv.FormatUint(uint64(h.uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
