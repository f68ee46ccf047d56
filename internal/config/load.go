package config

import (
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Load reads the files and directories and returns the configuration that this node runs. The configuration is nil only if
// the report holds an error; all mistakes are in it, in the order of the files.
func Load(paths []string, o Options) (*Config, Report) {
	files := read(paths)
	name, err := o.node()
	if err != nil {
		files.fail(err)
	}
	v := evaluate(files, loader{node: name, getenv: o.getenv(), here: true, onThisHost: o.OnThisHost, complete: true, hands: o.hands()})
	r := Report{Nodes: []string{name}, Findings: append(files.found, v.found...).reported(files.sources), Sources: files.sources, Files: files.looked}
	if !r.OK(false) {
		return nil, r
	}
	v.config.Files, v.config.Findings = r.Files, r.Findings
	return v.config, r
}

func (o Options) node() (string, error) {
	name := o.Node
	if name == "" {
		var err error
		if name, err = HostName(); err != nil {
			return "", err
		}
	}
	return name, nodeName(name)
}

func nodeName(name string) error {
	if !ValidName(name) {
		return fmt.Errorf("node name is %q; allowed: letters, digits, _ . and -, at most %d of them; use --node NAME", cut(name), maxNameLength)
	}
	return nil
}

func (o Options) getenv() func(string) (string, bool) {
	if o.Getenv != nil {
		return o.Getenv
	}
	return os.LookupEnv
}

// HostName is the node's name where none is given: the kernel's host name up to the first dot.
func HostName() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("ask the kernel for its host name: %w; use --node NAME", err)
	}
	name, _, _ = strings.Cut(name, ".")
	return name, nil
}

// loader evaluates what was read for one node.
type loader struct {
	files  *files
	node   string
	getenv func(string) (string, bool)
	// here says that this machine is the node, so that what it has may be looked at; onThisHost that this process is the daemon, for
	// which what is missing is an error; inPlace that the files are where the daemon will read them.
	here, onThisHost, inPlace bool
	// hands says who runs commands here.
	hands hands
	// complete wants every file readable, as a daemon does.
	complete bool
	// fragment says that what is referred to may be in files that were not given.
	fragment bool

	contexts map[string]*hcl.EvalContext
	// refused is why the function file could not read its file.
	refused string
	found   findings
}

// view is a configuration as one node sees it.
type view struct {
	config    *Config
	instances []instance
	groups    []group
	checks    []check
	found     findings
}

var topLevel = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "instance", LabelNames: []string{"name"}},
	{Type: "group", LabelNames: []string{"name"}},
	{Type: "check", LabelNames: []string{"kind", "name"}},
	{Type: "notify", LabelNames: []string{"kind", "name"}},
	{Type: "control"},
	{Type: "reload"},
	{Type: "log"},
}}

// evaluate decodes and judges all blocks for one node.
func evaluate(files *files, l loader) (v *view) {
	l.files, l.contexts = files, map[string]*hcl.EvalContext{}
	v = &view{config: &Config{Node: l.node}}
	defer func() {
		// What an administrator types must not end a daemon that reloads, whatever bug it finds.
		if r := recover(); r != nil {
			l.found.errorf(hcl.Range{}, "please report this with the configuration", "reading the configuration panicked: %v", r)
		}
		v.found = l.found
	}()
	content, diags := hcl.MergeFiles(files.bodies).Content(topLevel)
	l.found.add(diags)
	l.blocks(v, content.Blocks)
	return v
}

func (l *loader) blocks(v *view, blocks hcl.Blocks) {
	taken := map[string]map[string]hcl.Range{"instance": {}, "check": {}, "notify": {}, "group": {}}
	var hooks []hook
	for _, b := range blocks {
		if n := len(b.Labels); n > 0 && !l.unique(taken[b.Type], b.Type, b.Labels[n-1], headerOf(b)) {
			continue
		}
		switch b.Type {
		case "instance":
			v.instances = append(v.instances, l.instance(b))
		case "group":
			v.groups = append(v.groups, l.group(b))
		case "check":
			if c, ok := l.check(b); ok {
				v.checks = append(v.checks, c)
			}
		case "notify":
			if h, ok := l.hook(b); ok {
				hooks = append(hooks, h)
			}
		}
	}
	l.settings(v.config, blocks)
	l.bind(v, blocks)
	l.judgeRouters(v.instances)
	l.judgeVirtualMACs(v.instances)
	l.judgeDuplicates(v.instances)
	l.judgeSharedKeys(v.instances)
	l.judgeHosts(v.instances)
	l.judgeGroups(v.groups, v.instances)
	l.judgeHooks(hooks, v.instances, v.groups)
	l.judgeTrust(v.checks, hooks)
	l.judgeReaders()
	l.defaultLease(v.instances)
	if !l.fragment && len(v.instances) == 0 && !l.files.broken {
		l.found.errorf(hcl.Range{}, "write an instance block with interface, vrid, priority and addresses", "no instance is configured")
	}
	for _, in := range v.instances {
		v.config.Instances = append(v.config.Instances, in.Instance)
	}
	for _, g := range v.groups {
		v.config.Groups = append(v.config.Groups, g.Group)
	}
	for _, c := range v.checks {
		v.config.Checks = append(v.config.Checks, c.Check)
	}
	for _, h := range hooks {
		v.config.Hooks = append(v.config.Hooks, h.Hook)
	}
}
