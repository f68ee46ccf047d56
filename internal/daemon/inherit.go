package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// inheritance names the environment variable that says which files a program inherits from the one before it in its process.
const inheritance = "UNDERSTUDY_INHERITED"

// portsBound is how long the new program waits for the sockets of the interfaces that were up: without them it can neither hear
// nor send. They need milliseconds.
const portsBound = 2 * time.Second

// Inherited is what a daemon finds that goes on where another program in the same process was.
type Inherited struct {
	// Control are the files of the control socket.
	Control []*os.File
	stale   []*os.File    // files of the program before
	exec    time.Duration // how long the kernel took to make this program of the one before
	state   *sealedState
}

// Inherit takes what the program before this one in the process left; nil: there was none. It is called once, first of all. An
// error means that a daemon was here, and that nobody can go on for it.
func Inherit() (*Inherited, error) {
	files, stale, err := linux.Inherit(inheritance)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	in := &Inherited{Control: files[1:], stale: stale}
	if in.state, err = readState(files[0]); err != nil {
		return nil, err
	}
	in.exec = time.Since(in.state.Node.At)
	if in.state.PID != os.Getpid() {
		return nil, fmt.Errorf("the sealed state is of process %d", in.state.PID)
	}
	return in, files[0].Close()
}

// locks are those of the program before, which are no longer to be closed; none where there was none.
func (in *Inherited) locks() (locks *linux.Locks) {
	if in == nil {
		locks, _ = linux.NewLocks(nil)
		return locks
	}
	locks, in.stale = linux.NewLocks(in.stale)
	return locks
}

// readState reads a file that a daemon sealed.
func readState(f *os.File) (*sealedState, error) {
	text, err := linux.ReadSealed(f, maxSealed)
	if err != nil {
		return nil, fmt.Errorf("read the sealed state: %w", err)
	}
	return decodeState(text, linux.Monotonic)
}

// Trial says whether this program could go on with a daemon's state, which it reads from a file, under a configuration. It does what
// New does with the same rights and under the same sandbox, as far as that touches nothing: what fails after the exchange kills the
// daemon.
func Trial(f *os.File, cfg *config.Config, o Options) (TrialAnswer, error) {
	state, err := readState(f)
	if err != nil {
		return TrialAnswer{}, err
	}
	o.Inherited = &Inherited{state: state}
	d := newDaemon(cfg, o)
	defer d.close()
	for _, step := range d.harmless() {
		if err := step(cfg); err != nil {
			return TrialAnswer{}, err
		}
	}
	was := state.Node.Config
	o.Shadow = was.Shadow
	if err := guard(o, &config.Config{Node: was.Name, Instances: was.Instances, Groups: was.Groups}, cfg, thisHost); err != nil {
		return TrialAnswer{}, err
	}
	return TrialAnswer{sealedFormat, o.Version}, nil
}

// inherit gives everybody but the loop what the program before left.
func (d *Daemon) inherit(*config.Config) error {
	if d.opts.Inherited == nil {
		return nil
	}
	s := d.opts.Inherited.state
	d.rememberSecrets(s.Node.Config.Instances)
	n, _, err := node.Restore(&s.Node, time.Now())
	if err != nil {
		return err
	}
	d.snapshot.Store(n.Status(time.Now()))
	d.started = s.Started
	d.reexeced.Store(&node.ReexecReport{At: time.Now(), From: s.Version})
	d.hookRuns.restore(s.Hooks)
	d.monitors.restore(s.Checks)
	d.notifier.Restore(s.Queues)
	d.names.restore(s.Node.Names)
	return nil
}

// rememberSecrets gets what instances of the program before authenticated with, which is not in the sealed state: those that are no
// longer configured hand over.
func (d *Daemon) rememberSecrets(sealed []node.Instance) {
	saved, err := loadInstances(d.opts.RuntimeDir)
	if err != nil {
		d.log.Warn("the passwords of the configuration before", "error", err)
	}
	for _, i := range sealed {
		if i.Auth == nil {
			continue
		}
		if at := slices.IndexFunc(saved.Instances, func(s node.Instance) bool { return s.Name == i.Name && inConfiguration(s.Auth) }); at >= 0 && inConfiguration(i.Auth) {
			i.Auth.Password = saved.Instances[at].Auth.Password
		}
		if err := readSecrets(i.Auth); err != nil {
			d.log.Warn("what an instance of the configuration before authenticated with", "instance", i.Name, "error", err)
		}
	}
}

// restore takes the addresses that were known; they are looked up again soon.
func (n *names) restore(sealed map[string]node.SealedName) {
	known := map[string][]netip.Addr{}
	for text, s := range sealed {
		known[text] = s.IPs
		n.of[text] = &name{ips: s.IPs, sure: s.IPs, known: true, at: time.Now().Add(minLookupGap), gap: minLookupGap}
		if s.Err != "" {
			n.of[text].err = errors.New(s.Err)
		}
	}
	n.known.Store(&known)
}

// runInheritance closes the files of the program before, of which each may take the kernel a while, once there are others.
func (d *Daemon) runInheritance(ctx context.Context) error {
	select {
	case <-d.wentOn:
	case <-ctx.Done():
	}
	for _, f := range d.opts.Inherited.stale {
		_ = f.Close()
	}
	return nil
}

// goOn makes the node that the program before left, once its interfaces can be used, and gives it the configuration of now.
func (l *loop) goOn(cfg node.Config) {
	s := l.opts.Inherited.state
	ports := l.awaitPorts(&s.Node)
	n, actions, err := node.Restore(&s.Node, time.Now())
	if err != nil {
		panic(fmt.Sprintf("daemon: %v", err)) // it was restored a moment ago
	}
	l.node, l.suspended = n, s.Suspended
	l.hearBars() // the program before told another node
	l.addresses.inherit(&s.Node)
	l.know(n.Status(time.Now()))
	for _, a := range actions {
		l.perform(a)
	}
	l.wokeUp()
	l.step(node.Reconfigured{Config: cfg}) // before anything is sent: the sealed one has no keys
	for _, r := range l.monitors.list() {  // a verdict may have been on its way
		l.step(node.CheckChanged{Check: r.Check, Healthy: r.Healthy, Reason: r.Reason})
	}
	for _, c := range ports {
		l.step(node.LinkChanged{Link: c.link})
	}
	l.saveInstances(cfg)
	l.systemd.ready(l.summary())
	l.publish(time.Now())
	close(l.wentOn)
	l.log.Info("goes on for the program before", "from", s.Version, "away", time.Since(s.Node.At).Round(time.Millisecond), "executing", l.opts.Inherited.exec.Round(time.Millisecond))
}

// inherit takes note of what the program before could not set: somebody else may have it.
func (s *addressSetter) inherit(was *node.Sealed) {
	for k, i := range was.Instances {
		if i.Failure.Why == "" {
			continue
		}
		c := was.Config.Instances[k]
		var failed []linux.AddressError
		for _, a := range slices.Concat(c.Addresses, c.Unadvertised) {
			failed = append(failed, linux.AddressError{IP: a.IP, Err: linux.ErrForeign})
		}
		s.bar(node.SetAddresses{Interface: c.Interface}, failed)
	}
}

// awaitPorts takes the sockets of every interface that was up, as far as they come in time.
func (l *loop) awaitPorts(s *node.Sealed) (ports []portChange) {
	wanted := map[string]bool{}
	for _, name := range l.wanted() {
		for _, was := range s.Links {
			wanted[name] = wanted[name] || was.Link.Name == name && was.Link.Up
		}
	}
	for name, is := range wanted {
		if !is {
			delete(wanted, name)
		}
	}
	late := time.NewTimer(portsBound)
	defer late.Stop()
	for len(wanted) > 0 {
		select {
		case c := <-l.Daemon.ports:
			l.usePort(c)
			ports = append(ports, c)
			delete(wanted, c.link.Name)
		case <-late.C:
			l.log.Warn("not every interface could be opened in time")
			return ports
		}
	}
	return ports
}
