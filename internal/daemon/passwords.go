package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// savedInstances is what instances.json holds.
type savedInstances struct {
	node.Config
	// Passwords are those of VRRPv2 that stand in the configuration itself, by instance, as adverts carry them. The configuration may be
	// another one when they are needed, or broken, or gone; and whoever hears an advert has read one, so that a file of the daemon's user
	// alone may hold it. Keys, and what has a file of its own, are read there again.
	Passwords map[string][]byte `json:",omitempty"`
}

// withPasswords adds them to a configuration.
func withPasswords(c node.Config) savedInstances {
	k := savedInstances{Config: c, Passwords: map[string][]byte{}}
	for _, i := range c.Instances {
		if inConfiguration(i.Auth) && !i.Auth.Password.Empty() {
			k.Passwords[i.Name] = onTheWire(i.Auth.Password)
		}
	}
	return k
}

// config gives the instances their passwords back. What is none leaves its instance without one.
func (k *savedInstances) config() node.Config {
	for _, i := range k.Instances {
		if text := k.Passwords[i.Name]; inConfiguration(i.Auth) && len(text) > 0 {
			i.Auth.Password, _ = vrrp.NewPassword(string(text))
		}
	}
	return k.Config
}

// inConfiguration says that what an instance authenticates with can stand in no file but the configuration.
func inConfiguration(auth *vrrp.Auth) bool {
	return auth != nil && auth.PasswordFile == "" && len(auth.Keys) == 0
}

// onTheWire is a password as each advert shows it to the link, at its end: of a key no advert shows anything, and so this does not.
func onTheWire(password vrrp.Secret) []byte {
	any := netip.AddrFrom4([4]byte{192, 0, 2, 1})
	a := vrrp.Advert{Version: vrrp.V2, VRID: 1, Interval: time.Second, Addresses: []netip.Addr{any}, Password: password}
	b, err := a.Append(nil, any, any, 0)
	if err != nil {
		panic(fmt.Sprintf("daemon: %v", err)) // it is the same advert each time
	}
	return b[len(b)-vrrp.MaxPasswordLen:]
}

// errNoPassword is why an instance cannot speak that a daemon before passwords were kept has left.
var errNoPassword = errors.New("its password stands in the configuration alone, and the daemon that wrote " + instancesFile + ", of another version, did not keep it")

// readSecrets gets what the list of instances does not hold. The error says why an instance cannot speak.
func readSecrets(auth *vrrp.Auth) error {
	switch err := config.ReadSecrets(auth); {
	case err != nil:
		return err
	case !auth.Silent():
		return nil
	case inConfiguration(auth):
		return errNoPassword
	default:
		return vrrp.ErrNoKey
	}
}
