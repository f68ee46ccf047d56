package door

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/command"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/notify"
)

// The bounds of what the helper knows of configurations that are not on the disk any more.
const (
	// keptFor is how long the hooks of a configuration may be run once the daemon goes by another one. What a reload removes hands
	// over for some seconds, and its last hook may wait for one that runs, and for those of 255 others.
	keptFor = 5 * time.Minute
	// maxKept is how many configurations are kept, with the one that the daemon goes by.
	maxKept = 8
	// maxMemory is how much is read, in bytes: of 4,080 instances it is 100 KB for each configuration.
	maxMemory = 16 << 20
)

// memory is what root's files said each time when the daemon began to go by them: the newest first.
type memory struct {
	Configurations []kept `json:"configurations"`
}

// kept is one of them: whom it named, and its hooks of `stop`.
type kept struct {
	// Until is how long its hooks may be run, for those whom the files of now do not name; zero: the daemon goes by it.
	Until     time.Time  `json:"until,omitzero"`
	Instances []string   `json:"instances"`
	Groups    []string   `json:"groups"`
	Hooks     []keptHook `json:"hooks"`
}

type keptHook struct {
	Name     string          `json:"name"`
	Kind     string          `json:"kind"`
	Settings notify.Settings `json:"settings"`
	Options  json.RawMessage `json:"options"`
}

// keep makes what is kept of a configuration. A hook with a mistake would not be run.
func keep(commands *config.Commands) (kept, error) {
	if err := commands.Unread(); err != nil {
		return kept{}, err
	}
	k := kept{Instances: commands.Names("instance"), Groups: commands.Names("group")}
	for _, name := range commands.Names("notify") {
		h, err := commands.Hook(name)
		if err != nil || !slices.Contains(h.Settings.On, notify.Stop) {
			continue
		}
		options, err := json.Marshal(h.Options)
		if err != nil {
			return kept{}, fmt.Errorf("keep notify %q: %w", name, err)
		}
		k.Hooks = append(k.Hooks, keptHook{h.Name, h.Kind, h.Settings, options})
	}
	return k, nil
}

// hook is the hook again.
func (k keptHook) hook() (config.Hook, error) {
	kind, ok := notify.KindNamed(k.Kind)
	if !ok {
		return config.Hook{}, fmt.Errorf("no kind of notify is named %q", k.Kind)
	}
	h := config.Hook{Name: k.Name, Kind: k.Kind, PerHost: kind.PerHost, Settings: k.Settings, Options: kind.New()}
	if err := json.Unmarshal(k.Options, h.Options); err != nil {
		return h, err
	}
	for _, mistake := range slices.Concat(h.Settings.Validate(), h.Options.Validate()) {
		return h, fmt.Errorf("%s %s", mistake.Option, mistake.Reason)
	}
	return h, nil
}

// names says whether it is of the configuration's.
func (k kept) names(t notify.Transition) bool {
	if t.Group {
		return slices.Contains(k.Groups, t.Instance)
	}
	return slices.Contains(k.Instances, t.Instance)
}

// runs says whether its hooks may be run still. A clock that was set back makes it no longer.
func (k kept) runs(now time.Time) bool {
	return now.Before(k.Until) && !now.Add(keptFor).Before(k.Until)
}

// note takes note of the configuration that the daemon goes by from now on. The same one again prolongs nothing.
func (m *memory) note(k kept, now time.Time) {
	if len(m.Configurations) > 0 {
		if m.Configurations[0].same(k) {
			return
		}
		m.Configurations[0].Until = now.Add(keptFor)
	}
	m.Configurations = slices.DeleteFunc(m.Configurations, func(k kept) bool { return !k.runs(now) })
	m.Configurations = append([]kept{k}, m.Configurations[:min(len(m.Configurations), maxKept-1)]...)
}

func (k kept) same(other kept) bool {
	a, errA := json.Marshal(k)
	b, errB := json.Marshal(other)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// last finds the hook that an instance or a group had in the last configuration that named it.
func (m *memory) last(name string, t notify.Transition, now time.Time) (keptHook, bool) {
	for _, k := range m.Configurations {
		if !k.runs(now) || !k.names(t) {
			continue
		}
		at := slices.IndexFunc(k.Hooks, func(h keptHook) bool { return h.Name == name })
		if at < 0 {
			return keptHook{}, false
		}
		return k.Hooks[at], true
	}
	return keptHook{}, false
}

// memoryFile is where the helpers of one configuration keep it: in a directory that is root's alone.
func (h Helper) memoryFile() (string, error) {
	of := fnv.New64a()
	for _, path := range h.Paths {
		path, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(of, "%q ", path)
	}
	fmt.Fprintf(of, "%q", h.Node)
	return filepath.Join(h.Memory, fmt.Sprintf("%016x.json", of.Sum64())), nil
}

// recall reads the memory; one that is not there, or that another release wrote, is empty.
func (h Helper) recall() (memory, error) {
	path, err := h.memoryFile()
	if err != nil {
		return memory{}, err
	}
	switch err := command.OnlyRoot(path); {
	case errors.Is(err, fs.ErrNotExist):
		return memory{}, nil
	case err != nil:
		return memory{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return memory{}, err
	}
	defer func() { _ = file.Close() }()
	return readMemory(file), nil
}

// readMemory reads one that was written; another text is an empty one.
func readMemory(from io.Reader) (m memory) {
	d := json.NewDecoder(io.LimitReader(from, maxMemory))
	d.DisallowUnknownFields()
	if d.Decode(&m) != nil {
		return memory{}
	}
	return m
}

// remember adds a configuration to the memory.
func (h Helper) remember(k kept, now time.Time) error {
	path, err := h.memoryFile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.Memory, 0o700); err != nil {
		return err
	}
	if err := command.OnlyRoot(h.Memory); err != nil {
		return err
	}
	dir, err := os.Open(h.Memory)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // and with it the lock
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", h.Memory, err)
	}
	m, err := h.recall()
	if err != nil {
		return err
	}
	m.note(k, now)
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
