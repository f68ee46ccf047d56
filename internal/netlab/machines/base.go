package machines

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// cacheDir is where base trees are kept from one run to the next.
	cacheDir = "/var/cache/understudy-machines"
	// cacheLife is how long a base tree is good: newer packages are worth half a minute then.
	cacheLife = 7 * 24 * time.Hour
	// makeBound is how long a base tree may take; 30 s is usual.
	makeBound = 8 * time.Minute
	// sourcesDir and sourcesFile are where the machine's own package sources are.
	sourcesDir  = "/etc/apt/sources.list.d"
	sourcesFile = "/etc/apt/sources.list"
	// Reinstall is the package whose file a base has: installing it again restarts nginx as an upgrade does.
	Reinstall = "nginx-common"
	// releaseVar is the environment variable that names another Debian release than the machine's own.
	releaseVar = "DEBIAN_RELEASE"
)

// include are the packages of every machine.
var include = []string{
	"systemd", "systemd-sysv", "dbus", "iproute2", "procps", "sudo", "nginx-light", "man-db", "bash-completion",
}

// Base is the file system that machines begin with. Nothing in it is changed once it is made.
type Base struct {
	dir string
}

// Tree is the root of the file system.
func (b Base) Tree() string { return filepath.Join(b.dir, "tree") }

// NginxPackage is the file of the package [Reinstall], in the version that is installed.
func (b Base) NginxPackage() (string, error) {
	found, err := filepath.Glob(filepath.Join(b.dir, Reinstall+"_*.deb"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("package file of %s in %s: %d found; %w", Reinstall, b.dir, len(found), err)
	}
	return found[0], nil
}

// NewBase returns the base tree for the machine's own Debian release, or for the one that DEBIAN_RELEASE names, from the
// machine's package sources. It makes it where there is none yet.
func NewBase(ctx context.Context) (Base, error) {
	own, files, err := debian()
	if err != nil {
		return Base{}, err
	}
	release := cmp.Or(os.Getenv(releaseVar), own)
	var sources []string
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return Base{}, err
		}
		sources = append(sources, strings.ReplaceAll(string(text), own, release))
	}
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return Base{}, err
	}
	lock, err := os.OpenFile(filepath.Join(cacheDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return Base{}, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return Base{}, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	b := Base{filepath.Join(cacheDir, cacheKey(release, sources))}
	if info, err := os.Stat(b.dir); err == nil && time.Since(info.ModTime()) < cacheLife {
		return b, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, makeBound, fmt.Errorf("not within %v", makeBound))
	defer cancel()
	if err := b.make(ctx, release, sources); err != nil {
		return Base{}, fmt.Errorf("make a Debian tree: %w", err)
	}
	return b, nil
}

// debian is the code name of the machine's release, and the files with its package sources.
func debian() (release string, sources []string, err error) {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", nil, err
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			release = strings.Trim(name, `"`)
		}
	}
	if release == "" {
		return "", nil, errors.New("/etc/os-release has no VERSION_CODENAME: whole machines are made on Debian only")
	}
	candidates := []string{sourcesFile}
	for _, pattern := range []string{"*.list", "*.sources"} {
		found, err := filepath.Glob(filepath.Join(sourcesDir, pattern))
		if err != nil {
			return "", nil, err
		}
		candidates = append(candidates, found...)
	}
	for _, path := range candidates {
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", nil, err
		}
		if strings.Contains(string(text), release) {
			sources = append(sources, path)
		}
	}
	if len(sources) == 0 {
		return "", nil, fmt.Errorf("no package source of %s in %s and %s", release, sourcesFile, sourcesDir)
	}
	return release, sources, nil
}

// cacheKey names a base by all that it is made from.
func cacheKey(release string, sources []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %q %s %q %q\n", release, include, Reinstall, siteConfig, sources)
	return fmt.Sprintf("%s-%x", release, h.Sum(nil)[:6])
}

// make makes the tree beside its place and moves it there when it is whole. Others of the release are removed: they are never asked for
// again.
func (b Base) make(ctx context.Context, release string, sources []string) error {
	old, err := filepath.Glob(filepath.Join(cacheDir, release+"-*"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	next := Base{b.dir + "-unfinished"}
	if err := os.MkdirAll(next.dir, 0o755); err != nil {
		return err
	}
	argv := []string{
		"mmdebstrap", "--variant=minbase", "--include=" + strings.Join(include, ","),
		// From the release's own sources, and not by way of the tree: mmdebstrap tells its hooks where the lists are.
		fmt.Sprintf(`--customize-hook=cd %s && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -qq -o APT::Sandbox::User=root download %s`, next.dir, Reinstall),
		release, next.Tree(),
	}
	for k, text := range sources {
		path := filepath.Join(next.dir, fmt.Sprintf("%d.%s", k, sourceFormat(text)))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
		argv = append(argv, path)
	}
	if err := command(ctx, "", argv...); err != nil {
		return err
	}
	if err := next.furnish(ctx); err != nil {
		return err
	}
	return os.Rename(next.dir, b.dir)
}

// sourceFormat is how the name of a file with package sources must end.
func sourceFormat(text string) string {
	if strings.Contains(text, "Suites:") {
		return "sources"
	}
	return "list"
}

// siteConfig is what nginx serves on every machine: the machine's name.
const siteConfig = `server {
	listen 80 default_server;
	listen [::]:80 default_server;
	client_header_timeout 2s;
	default_type text/plain;
	location / {
		return 200 "$hostname\n";
	}
}
`

// furnish adds what makes the tree a machine of a test.
func (b Base) furnish(ctx context.Context) error {
	if err := command(ctx, "", "systemctl", "--root="+b.Tree(), "enable", "systemd-networkd.service"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(b.Tree(), "var/log/journal"), 0o755); err != nil { // a journal that outlives a reboot
		return err
	}
	for path, text := range map[string]string{
		"etc/nginx/sites-available/default": siteConfig,
		"etc/dpkg/dpkg.cfg.d/unsafe-io":     "force-unsafe-io\n",
	} {
		if err := os.WriteFile(filepath.Join(b.Tree(), path), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// command runs a command in a directory to its end.
func command(ctx context.Context, dir string, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("run %q: %w: %s", strings.Join(argv, " "), err, out[max(0, len(out)-2000):])
	}
	return nil
}
