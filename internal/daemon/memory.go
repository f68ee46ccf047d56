package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
)

// memoryFile is what authentication remembers: without it a daemon that is started again would not know what is replayed to it.
// It is in the runtime directory, where a daemon that was killed leaves the newest, and in the state directory, for a start after
// a stop or a reboot. A shadow has a file of its own: it heard less than the daemon which may have been before it.
const (
	memoryFile       = "auth.json"
	shadowMemoryFile = "shadow-auth.json"
)

// The least time between two writes. What was heard after the last one is lost to a kill or a power cut, and not known to be
// replayed; but the next daemon moves the marks on, so that it makes nobody take over (vrrp.NewAuthenticator). That needs no newer mark
// either, since two clocks hardly drift apart within a minute: a disk is not to be kept busy for it.
const (
	memoryGap  = time.Second // in the runtime directory
	durableGap = time.Minute // in the state directory
)

// clockJitter is by how much a clock may be adjusted that it is no news.
const clockJitter = time.Second

// remembered is the file.
type remembered struct {
	Routers []node.RouterMemory `json:"routers"`
}

// memories are the files, the newest first.
type memories []*memoryKeeper

// newMemories are of two directories, or of one that is both.
func newMemories(runtimeDir, stateDir string, log hclog.Logger) memories {
	all := memories{newMemoryKeeper(filepath.Join(runtimeDir, memoryFile), log)}
	if filepath.Clean(stateDir) != filepath.Clean(runtimeDir) {
		durable := newMemoryKeeper(filepath.Join(stateDir, memoryFile), log)
		durable.gap, durable.write = durableGap, saveJSON
		all = append(all, durable)
	}
	return all
}

// load reads what the daemon before this one wrote: the newest file that there is and that can be read. The error says of the
// others what is wrong with them.
func (all memories) load() (node.Remembered, error) {
	var errs []error
	for _, k := range all {
		r, err := k.load()
		if err == nil && r.Routers != nil {
			return r, errors.Join(errs...)
		}
		errs = append(errs, err)
	}
	return node.Remembered{}, errors.Join(errs...)
}

// save has the newest memory written, by each keeper in its time. Only the loop calls it.
func (all memories) save(routers []node.RouterMemory) {
	for _, k := range all {
		k.save(routers)
	}
}

// memoryKeeper writes a file in a goroutine of its own: the loop does not wait for a disk.
type memoryKeeper struct {
	path   string
	gap    time.Duration // from one write to the next, beyond memoryGap
	write  func(path string, v any) error
	latest chan []node.RouterMemory // one at most, the newest
	failed string
	log    hclog.Logger
}

func newMemoryKeeper(path string, log hclog.Logger) *memoryKeeper {
	return &memoryKeeper{path: path, write: writeJSON, latest: make(chan []node.RouterMemory, 1), log: log}
}

// load reads the file; no routers where there is none.
func (k *memoryKeeper) load() (node.Remembered, error) {
	var r remembered
	if err := readJSON(k.path, &r); err != nil {
		return node.Remembered{}, err
	}
	for _, router := range r.Routers {
		for _, m := range router.Marks {
			if !m.Sender.IsValid() || m.Heard.IsZero() {
				return node.Remembered{}, fmt.Errorf("read %s: a mark without a sender or a time", k.path)
			}
		}
	}
	return node.Remembered{Routers: r.Routers}, nil
}

// save leaves the newest memory to be written.
func (k *memoryKeeper) save(routers []node.RouterMemory) {
	select {
	case <-k.latest: // nobody needs the older one
	default:
	}
	k.latest <- routers
}

// run writes until ctx ends, and what is left then.
func (k *memoryKeeper) run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case routers := <-k.latest:
			if !k.replace(ctx, routers) {
				return nil
			}
		case <-ctx.Done():
		}
		select {
		case <-time.After(k.gap):
		case <-ctx.Done():
		}
	}
	select {
	case routers := <-k.latest:
		k.replace(ctx, routers)
	default:
	}
	return nil
}

// replace writes the file. It says whether it was written, or could not be, in time: once ctx has ended a disk that hangs is waited for
// as long as one change of the drains.
func (k *memoryKeeper) replace(ctx context.Context, routers []node.RouterMemory) bool {
	written := make(chan error, 1)
	go func() { written <- k.write(k.path, remembered{routers}) }() // ends before Run returns, unless the disk hangs
	select {
	case err := <-written:
		k.tell(err)
		return true
	case <-ctx.Done():
	}
	select {
	case err := <-written:
		k.tell(err)
		return true
	case <-time.After(saveBound):
		k.log.Error("what authentication remembers is not saved: the disk does not answer", "file", k.path)
		return false
	}
}

// tell logs what became of a write; the same error once.
func (k *memoryKeeper) tell(err error) {
	if err == nil {
		k.failed = ""
		return
	}
	if k.failed != err.Error() {
		k.failed = err.Error()
		k.log.Warn("what authentication remembers is not saved: when the daemon is started again, what somebody caught before can make it wait, or give way while it is unhealthy or leaves; "+
			"let the daemon's user write there", "error", err)
	}
}

// openMemory reads what authentication must not forget.
func (d *Daemon) openMemory(cfg *config.Config) (err error) {
	if d.opts.Inherited != nil {
		return nil // the node has it
	}
	d.remembered, err = d.memory.load()
	if !slices.ContainsFunc(cfg.Instances, func(i node.Instance) bool { return i.Auth != nil }) {
		return nil
	}
	switch {
	case err == nil:
	case d.remembered.Routers != nil:
		d.log.Warn("what authentication remembered last is lost, and an older note counts; the file is written anew", "error", err)
	default:
		d.log.Error("what authentication remembered is lost: adverts that were sent before this start, by their senders' clocks, can make this host wait, or give way "+
			"while it is unhealthy or leaves, and never take over, as at the first start of all; the file is written anew", "error", err)
	}
	if last := lastHeard(d.remembered); last.Sub(d.started) > clockJitter {
		d.log.Warn("this host's clock was set back since the daemon last ran: where it is wrong, the adverts of other hosts are refused; set it by NTP",
			"now", d.started, "then", last)
	}
	return nil
}

// lastHeard is when the newest mark was made; zero: there is none.
func lastHeard(r node.Remembered) (last time.Time) {
	for _, router := range r.Routers {
		for _, m := range router.Marks {
			if m.Heard.After(last) {
				last = m.Heard
			}
		}
	}
	return last
}

// remember sees to it that the node's memory is written when it has changed, but not at each advert.
func (l *loop) remember() {
	if l.node.MemoryVersion() != l.memorized && l.memoryDue == nil {
		l.memoryDue = time.After(memoryGap - time.Since(l.memorizedAt))
	}
}

// memorize gives the node's memory to the keeper.
func (l *loop) memorize() {
	l.memoryDue = nil
	if v := l.node.MemoryVersion(); v != l.memorized {
		now := time.Now()
		l.memory.save(l.node.Memory(now))
		l.memorized, l.memorizedAt = v, now
	}
}
