package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/netlab"
)

// demoServer is the web server of a demo's host where nginx is missing: this program again.
type demoServer struct {
	host *netlab.Host
	proc *netlab.Proc
}

var _ webServer = (*demoServer)(nil)

// Start starts the server and waits until it serves.
func (s *demoServer) Start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if s.proc, err = s.host.Start(self, "demo", "serve", s.host.Name(), s.PIDFile()); err != nil {
		return err
	}
	const bound = 5 * time.Second
	return netlab.Eventually(ctx, bound, func() (bool, string) {
		text, err := os.ReadFile(s.PIDFile())
		if err != nil || string(text) != strconv.Itoa(s.proc.PID())+"\n" {
			return false, fmt.Sprintf("the web server has not written %s: %s", s.PIDFile(), s.proc.Output())
		}
		return true, ""
	})
}

// Kill ends the server by SIGKILL. Its pid file stays.
func (s *demoServer) Kill(context.Context) error { return s.proc.Kill() }

// PIDFile holds the server's process id.
func (s *demoServer) PIDFile() string { return filepath.Join(s.host.Dir(), "web.pid") }

// demoServerCommand is that server. It ends by a signal.
func demoServerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "serve NAME PID_FILE",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			listener, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp4", "0.0.0.0:80")
			if err != nil {
				return err
			}
			// The file says that it serves, so it comes after the socket.
			if err := os.WriteFile(args[1], []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
				return errors.Join(err, listener.Close())
			}
			server := &http.Server{Handler: demoPages(args[0]), ReadHeaderTimeout: time.Second}
			return server.Serve(listener)
		},
	}
}

// demoPages answers /healthz, and everything else with the host's name.
func demoPages(name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "healthy") })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name+"\n") })
	return mux
}
