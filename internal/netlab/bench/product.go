package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

// The one virtual address of a pair, and its virtual router. The networks of the bench are those for documentation.
var (
	vip  = netip.MustParseAddr("192.0.2.10")
	vrid = 71
)

// The check of nginx's page, the same for all daemons.
const (
	pageInterval = time.Second
	pageTimeout  = 900 * time.Millisecond
	pageRise     = 2
	pageFall     = 2
)

// edit is what to change in a pair's configuration.
type edit struct {
	less   int  // of the priority
	broken bool // the file ends in the middle, as one that was written half
}

// product is a daemon that is measured.
type product interface {
	name() string
	// write writes the configuration of a host.
	write(s *server, interval time.Duration, verbose bool, e edit) error
	// start starts the daemon on a host.
	start(s *server) (*process, error)
	// drain takes a host out, and back in, as an administrator does.
	drain(ctx context.Context, s *server, on bool) error
	// nginxStop is what its package does before nginx stops, and after it is back.
	nginxStop(ctx context.Context, s *server, on bool) error
	// reload has a host read its configuration again, and returns once it was asked to.
	reload(ctx context.Context, s *server) error
	// writeScale writes a configuration of many instances.
	writeScale(s *server, c scaleCase) error
	// cleanup removes what a daemon that was killed leaves behind in files.
	cleanup(s *server) error
}

// server is one of the two hosts.
type server struct {
	*netlab.Host
	nginx    *netlab.Nginx
	priority int
	daemon   *process
}

// file is a path in the host's own directory.
func (s *server) file(name string) string { return filepath.Join(s.Dir(), name) }

// install writes a file of the host, as editors do: a reader sees the old one or the new one.
func (s *server) install(name, text string) error {
	temporary := s.file("." + name + ".new")
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, s.file(name))
}

// cut returns the first half of a configuration.
func (e edit) cut(text string) string {
	if e.broken {
		return text[:len(text)/2]
	}
	return text
}

// sameNamespace says whether a process is on the host.
func (s *server) sameNamespace(pid int) error {
	want, err := os.Stat("/run/netns/" + s.Namespace())
	if err != nil {
		return err
	}
	got, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	if !os.SameFile(want, got) {
		return fmt.Errorf("process %d is not in the network of %s", pid, s.Name())
	}
	return nil
}
