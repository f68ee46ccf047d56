package config

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"github.com/understudy-ha/understudy/internal/command"
	"github.com/understudy-ha/understudy/vrrp"
)

// credentialsVariable names the directory in which systemd puts a service's credentials.
const credentialsVariable = "CREDENTIALS_DIRECTORY"

// maxSecretBytes bounds a file that holds a secret: hex digits for the longest key, and room for what is wrong with it.
const maxSecretBytes = 512

// hexPrefix says that hex digits follow.
var hexPrefix = []byte("hex:")

// ReadSecrets reads the files again that an instance's authentication came from. A password that stands in the
// configuration itself is not read.
func ReadSecrets(auth *vrrp.Auth) (err error) {
	credentials := os.Getenv(credentialsVariable)
	for k := range auth.Keys {
		if auth.Keys[k].Secret, err = readKey(auth.Keys[k].File, credentials); err != nil {
			return err
		}
	}
	if auth.PasswordFile != "" {
		auth.Password, err = readPassword(auth.PasswordFile, credentials)
	}
	return err
}

// readKey reads a key. No error shows any of it.
func readKey(path, credentials string) (vrrp.Secret, error) {
	line, err := readSecret(path, credentials)
	if err != nil {
		return vrrp.Secret{}, err
	}
	return keyOf(path, line)
}

// bareDigits are what openssl rand -hex prints for a key. As a text they are a key too, but not the one that they are with hex: in front.
var bareDigits = regexp.MustCompile(`^(?:[0-9A-Fa-f]{2}){32,}$`)

// keyOf takes a key from the line that its file holds.
func keyOf(path string, line []byte) (vrrp.Secret, error) {
	key := line
	if digits, ok := bytes.CutPrefix(line, hexPrefix); ok {
		key = make([]byte, hex.DecodedLen(len(digits)))
		if _, err := hex.Decode(key, digits); err != nil {
			return vrrp.Secret{}, fmt.Errorf("%s holds no key: what follows hex: is not an even number of hex digits", path)
		}
	}
	if len(key) < vrrp.MinKeyLen || len(key) > vrrp.MaxKeyLen {
		return vrrp.Secret{}, fmt.Errorf("%s holds a key of %d bytes; allowed: %d..%d; make one with: (printf hex:; openssl rand -hex 32)",
			path, len(key), vrrp.MinKeyLen, vrrp.MaxKeyLen)
	}
	return vrrp.NewSecret(key), nil
}

// readPassword reads VRRPv2's password.
func readPassword(path, credentials string) (vrrp.Secret, error) {
	line, err := readSecret(path, credentials)
	if err != nil {
		return vrrp.Secret{}, err
	}
	secret, err := vrrp.NewPassword(string(line))
	if err != nil {
		return vrrp.Secret{}, fmt.Errorf("password in %s: %w", path, err)
	}
	return secret, nil
}

// readSecret reads the one line of a file that nobody else may read.
func readSecret(path, credentials string) ([]byte, error) {
	users := keepers()
	// Asked before a link on the way is followed: with fs.protected_symlinks, which is Debian's default, not even root may follow a stranger's
	// in a sticky directory.
	unsafe := command.OnlyUsers(path, users, "who is neither root nor the daemon's user")
	if _, link := errors.AsType[*command.LinkError](unsafe); link {
		return nil, unsafe
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		if os.Geteuid() == 0 && unsafe != nil && !errors.Is(unsafe, fs.ErrPermission) {
			return nil, unsafe // such a link may come after what is unsafe
		}
		return nil, fmt.Errorf("%s may not be read: %w", path, fs.ErrPermission)
	}
	if err != nil {
		return nil, errors.New(reasonOf(path, err))
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, errors.New(reasonOf(path, err))
	}
	if err := cmp.Or(secretive(path, info, users, credentials), unsafe); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSecretBytes+1))
	if err != nil {
		return nil, errors.New(reasonOf(path, err))
	}
	if len(text) > maxSecretBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxSecretBytes)
	}
	text = bytes.TrimRight(text, "\r\n")
	if bytes.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("%s has more than one line; write a key that is not text in hex digits, after hex:, in one line", path)
	}
	return text, nil
}

// secretive says what lets others than root and these users read the file that was opened.
func secretive(path string, info fs.FileInfo, users []uint32, credentials string) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	others := fs.FileMode(0o077)
	if credentials != "" && filepath.Dir(path) == filepath.Clean(credentials) {
		others = 0o037 // systemd lets the service's user read it by an ACL, which shows as the group's right
	}
	if mode := info.Mode().Perm(); mode&others != 0 {
		return fmt.Errorf("%s has mode %04o, so that others than its owner can use it; run: chmod 600 %s", path, mode, path)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && !slices.Contains(users, stat.Uid) {
		return fmt.Errorf("%s belongs to user %d; allowed: root and the daemon's user; run: chown USER %s, as one of them", path, stat.Uid, path)
	}
	return nil
}

// daemonUser is whom the packages run the daemon as.
var daemonUser = "understudy"

// keepers are the users beside root who may have a secret: this process's, and the daemon's where root looks at its files, to
// validate or for the helper.
func keepers() []uint32 {
	users := []uint32{uint32(os.Geteuid())}
	if users[0] == 0 {
		if uid, err := command.UID(daemonUser); err == nil {
			users = append(users, uid)
		}
	}
	return users
}
