package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
)

// memoryFile, in the runtime directory, is what authentication remembers: without it a restarted daemon would accept what
// somebody caught before.
const memoryFile = "auth.json"

// memoryGap is the least time between two writes of it. What is sent after the last one is refused all the same: the next
// daemon moves the marks on.
const memoryGap = time.Second

// remembered is the file.
type remembered struct {
	Routers []node.RouterMemory `json:"routers"`
}

// memoryKeeper writes the file in a goroutine of its own: the loop does not wait for a disk.
type memoryKeeper struct {
	path   string
	latest chan []node.RouterMemory // one at most, the newest
	failed string
	log    hclog.Logger
}

func newMemoryKeeper(runtimeDir string, log hclog.Logger) *memoryKeeper {
	return &memoryKeeper{path: filepath.Join(runtimeDir, memoryFile), latest: make(chan []node.RouterMemory, 1), log: log}
}

// load reads what the daemon before this one wrote.
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

// save has the newest memory written soon. Only the loop calls it.
func (k *memoryKeeper) save(routers []node.RouterMemory) {
	select {
	case <-k.latest: // nobody needs the older one
	default:
	}
	k.latest <- routers
}

// run writes until ctx ends, and what is left then.
func (k *memoryKeeper) run(ctx context.Context) error {
	for {
		select {
		case routers := <-k.latest:
			k.write(routers)
		case <-ctx.Done():
			select {
			case routers := <-k.latest:
				k.write(routers)
			default:
			}
			return nil
		}
	}
}

// write replaces the file; the same error is told once.
func (k *memoryKeeper) write(routers []node.RouterMemory) {
	err := writeJSON(k.path, remembered{routers})
	if err == nil {
		k.failed = ""
		return
	}
	if k.failed != err.Error() {
		k.failed = err.Error()
		k.log.Warn("after a restart, adverts that somebody caught could be accepted once more", "error", err)
	}
}

// openMemory reads what authentication must not forget.
func (d *Daemon) openMemory(cfg *config.Config) error {
	if d.opts.Inherited != nil {
		return nil // the node has it
	}
	var err error
	if d.remembered, err = d.memory.load(); err == nil {
		return nil
	}
	for _, i := range cfg.Instances {
		if i.Auth != nil {
			d.log.Error("what authentication remembered is lost: adverts that were sent before this start are refused, and those of a host "+
				"whose clock is behind until it reaches the time of this start, as at the first start of all; the file is written anew", "error", err)
			break
		}
	}
	return nil
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
