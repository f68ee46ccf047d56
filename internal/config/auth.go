package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/vrrp"
)

// rawAuth and rawKey mirror an auth block.
type (
	rawAuth struct {
		Active       int    `hcl:"active,optional" doc:"The number of the key that signs; every key verifies."`
		Mode         string `hcl:"mode,optional" default:"enforce" doc:"\"enforce\"; for rolling it out \"receive-only\", then \"permissive\", which accept what is not signed."`
		Password     string `hcl:"password,optional" doc:"Instead of keys: VRRPv2's password of up to 8 bytes, which every host on the link can read."`
		PasswordFile string `hcl:"password_file,optional" doc:"The file that holds VRRPv2's password."`
	}
	rawKey struct {
		File       string `hcl:"file,optional" doc:"The file that holds the key, of mode 0600, where nobody but root and the daemon can write: one line of 32 to 64 bytes, or of hex digits after hex:. Its change is a reload."`
		Credential string `hcl:"credential,optional" doc:"The systemd credential that holds the key (LoadCredential=); systemd hands it over once, at the start."`
	}
)

// auth turns the block into what the instance proves its adverts with. Whatever is wrong with it is an error: an instance
// never runs unauthenticated because a key is missing.
func (l *loader) auth(in *instance, raw *rawInstance, title string) {
	b := l.single(in.block.nested, "auth")
	if b == nil {
		return
	}
	var r rawAuth
	checks.SetDefaults(&r)
	d := l.decode(b, "auth of "+title, []hcl.BlockHeaderSchema{{Type: "key", LabelNames: []string{"number"}}}, &r)
	in.Auth = &vrrp.Auth{Active: uint8(r.Active), Window: vrrp.DefaultWindow(raw.AdvertiseInterval)}
	keyed := d.has("active") || d.has("mode") || len(d.nestedOf("key")) > 0
	switch {
	case !d.has("password") && !d.has("password_file"):
		l.judgeKeys(in.Auth, d, &r, title)
	case keyed:
		l.found.errorf(d.at, "remove one of the two: keys sign, a password is VRRPv2's", "%s has a password and keys", d.title)
	default:
		l.judgePassword(in, d, &r)
	}
}

// judgeKeys reads the keys.
func (l *loader) judgeKeys(auth *vrrp.Auth, d block, raw *rawAuth, title string) {
	if d.usable("mode") {
		l.oneOf(d, "mode", raw.Mode, modes)
	}
	auth.Mode, _ = vrrp.ParseAuthMode(raw.Mode)
	taken := map[string]hcl.Range{}
	for _, b := range d.nestedOf("key") {
		if key, ok := l.key(b, title); l.unique(taken, "key", b.Labels[0], headerOf(b)) && ok {
			auth.Keys = append(auth.Keys, key)
		}
	}
	slices.SortFunc(auth.Keys, func(a, b vrrp.Key) int { return cmp.Compare(a.ID, b.ID) })
	l.judgeCopies(auth.Keys, d)
	if !d.has("active") {
		l.found.errorf(d.at, "it is required: the number of the key that signs", "%s has no active", d.title)
		return
	}
	l.within(d, "active", raw.Active, 1, maxKeyID, "")
	if _, ok := taken[strconv.Itoa(raw.Active)]; d.usable("active") && !ok && raw.Active >= 1 && raw.Active <= maxKeyID {
		l.found.errorf(d.place("active"), fmt.Sprintf("write key \"%d\" { file = ... }", raw.Active), "active is %d, and no key has that number", raw.Active)
	}
}

// judgeCopies warns of a key under two numbers: who copied the wrong file would believe that the old key is gone.
func (l *loader) judgeCopies(keys []vrrp.Key, d block) {
	for i, b := range keys {
		for _, a := range keys[:i] {
			if !a.Secret.Empty() && a.ID != b.ID && a.Secret.Equal(b.Secret) {
				l.found.warnf(d.at, "make a new one for one of them, and copy it to the other hosts", "keys %d and %d of %s are the same", a.ID, b.ID, d.title)
			}
		}
	}
}

// key reads one key.
func (l *loader) key(b *hcl.Block, title string) (vrrp.Key, bool) {
	number := b.Labels[0]
	id, err := strconv.Atoi(number)
	ok := err == nil && id >= 1 && id <= maxKeyID && number == strconv.Itoa(id)
	if !ok {
		l.found.errorf(b.LabelRanges[0], fmt.Sprintf("allowed: 1..%d", maxKeyID), "key is %q", cut(number))
	}
	var raw rawKey
	d := l.decode(b, fmt.Sprintf("key %q of %s", number, title), nil, &raw)
	key := vrrp.Key{ID: uint8(id)}
	switch {
	case d.has("file") && d.has("credential"):
		l.found.errorf(d.at, "remove one of the two", "%s has a file and a credential", d.title)
	case d.usable("file"):
		key.File, key.Secret = l.keyFile(d, "file", raw.File)
	case d.usable("credential"):
		key.File, key.Secret = l.credential(d, raw.Credential)
	case !d.has("file") && !d.has("credential"):
		l.found.errorf(d.at, "it is required: the file that holds the key (mode 0600, one line: text, or hex: and digits, as keepalived has it), or a systemd credential", "%s has no file", d.title)
	}
	return key, ok
}

// keyFile reads the key that a file holds.
func (l *loader) keyFile(d block, name, path string) (string, vrrp.Secret) {
	var line []byte
	file, secret := l.secret(d, name, path, func(path, credentials string) (key vrrp.Secret, err error) {
		if line, err = readSecret(path, credentials); err != nil {
			return vrrp.Secret{}, err
		}
		return keyOf(path, line)
	})
	if !secret.Empty() && bareDigits.Match(line) {
		l.found.notef(d.place(name), "it is another key than theirs if the other hosts have it with hex:, and the same as keepalived's if that lacks it too",
			"%s holds hex digits without hex: in front, and is taken as a text", file)
	}
	return file, secret
}

// credentialPattern is what systemd accepts as the name of a credential, less what could leave its directory.
var credentialPattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]*$`)

// credential reads a key from the directory that systemd made for this service.
func (l *loader) credential(d block, name string) (string, vrrp.Secret) {
	if !credentialPattern.MatchString(name) {
		l.found.errorf(d.place("credential"), "allowed: letters, digits, _, . and -, without a dot in front", "credential is %q", cut(name))
		return "", vrrp.Secret{}
	}
	if dir, ok := l.getenv(credentialsVariable); ok {
		return l.keyFile(d, "credential", filepath.Join(dir, name))
	}
	if l.here {
		say := l.found.warnf // it is set for the daemon alone: what validate lacks says nothing of this machine
		if l.onThisHost {
			say = l.found.errorf
		}
		say(d.place("credential"), fmt.Sprintf("systemd sets it: write LoadCredential=%s:PATH into the unit", name),
			"credential %q cannot be read: %s is not set", name, credentialsVariable)
	}
	return "", vrrp.Secret{}
}

// judgePassword reads VRRPv2's password. No message shows its line: the password may stand there.
func (l *loader) judgePassword(in *instance, d block, raw *rawAuth) {
	switch {
	case d.has("password") && d.has("password_file"):
		l.found.errorf(d.at, "remove one of the two", "%s has a password and a password_file", d.title)
		return
	case in.Version == vrrp.V3:
		l.found.errorf(d.at, "write keys, which are better, or version = 2", "%s has a password, and VRRPv3 carries none", d.title)
		return
	case d.usable("password"):
		secret, err := vrrp.NewPassword(raw.Password)
		if err != nil {
			l.found.errorf(d.at, "", "password of %s: %v", d.title, err)
		}
		in.Auth.Password = secret
	case d.usable("password_file"):
		in.Auth.PasswordFile, in.Auth.Password = l.secret(d, "password_file", raw.PasswordFile, readPassword)
	}
	l.found.warnf(d.at, "use keys once no host needs it",
		"%s is VRRPv2's password, which is sent in clear: it protects against mistakes, and against nobody who can read the link", d.title)
}

// ownFile says where a secret belongs.
func ownFile(name string) string {
	return fmt.Sprintf(`it belongs in a file of mode 0600, in one line, as it stands (keepalived's files are the same); then write %s = "/etc/understudy/NAME"`, name)
}

// secret reads a file that the configuration names, on this machine only. Its path is watched; its content is kept nowhere else.
func (l *loader) secret(d block, name, path string, read func(path, credentials string) (vrrp.Secret, error)) (string, vrrp.Secret) {
	at, written := d.place(name), path
	if strings.HasPrefix(strings.ToLower(path), string(hexPrefix)) {
		l.found.errorf(at, ownFile(name), "%s of %s is the secret itself", name, d.title)
		return "", vrrp.Secret{}
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(at.Filename), path)
	}
	l.files.look(path)
	if !l.here {
		return path, vrrp.Secret{}
	}
	credentials, _ := l.getenv(credentialsVariable)
	secret, err := read(path, credentials)
	switch {
	case err == nil:
		l.judgeReader(at, path, "chown USER FILE")
	case errors.Is(err, fs.ErrPermission) && !l.complete:
		l.warnHere(at, "run validate as a user who may read it", "%s is not checked: permission denied", path)
	case missing(path) && (mayBeKey(written) || name != "credential" && !isPath(written)):
		l.amiss(at, ownFile(name), "%s of %s is the name of no file; it is not shown, since it may be the secret itself", name, d.title)
	case missing(path) && name == "file":
		l.amiss(at, "copy it from a host that has it, with its owner and mode; examples/auth tells how to make one", "%v", err)
	default:
		l.amiss(at, "", "%v", err)
	}
	return path, secret
}

// judgeSharedKeys warns of two instances that cannot be told apart by their signatures: neither the interface nor the
// addresses of the other hosts are part of them.
func (l *loader) judgeSharedKeys(instances []instance) {
	for i := range instances {
		for j := range instances[:i] {
			a, b := &instances[j], &instances[i]
			if a.VRID == b.VRID && a.Interface != b.Interface && shareKey(a.Auth, b.Auth) {
				l.found.warnf(b.block.at, "use another key or vrid in one of them",
					"instances %q and %q have a key and the vrid %d in common: what is sent on %s could be played on %s", a.Name, b.Name, a.VRID, a.Interface, b.Interface)
			}
		}
	}
}

func shareKey(a, b *vrrp.Auth) bool {
	return a != nil && b != nil && slices.ContainsFunc(a.Keys, func(x vrrp.Key) bool {
		return !x.Secret.Empty() && slices.ContainsFunc(b.Keys, func(y vrrp.Key) bool { return x.ID == y.ID && x.Secret.Equal(y.Secret) })
	})
}
