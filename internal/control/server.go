package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of the server.
const (
	// maxClients is how many requests are served at once; one more is told to come back.
	maxClients  = 32
	headerBound = 5 * time.Second
	// writeBound covers the longest drain too.
	writeBound    = 30 * time.Second
	maxName       = 64
	shutdownBound = time.Second
	socketGroup   = "understudy"
)

// Server serves the control socket.
type Server struct {
	daemon   Daemon
	listener *net.UnixListener
	steer    atomic.Pointer[string]
	slots    chan struct{}
}

// Listen makes the socket, 0660 and of the group understudy where there is one. A socket that a dead daemon left behind
// is replaced; one that is still answered is an error, since two daemons must not share a runtime directory.
func Listen(runtimeDir, steerGroup string, d Daemon) (*Server, error) {
	path := filepath.Join(runtimeDir, SocketName)
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("control socket %s: another daemon answers there; use another --runtime-dir", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	old := unix.Umask(0o117) // never open to others, not even for an instant
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if g, err := user.LookupGroup(socketGroup); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil {
			_ = os.Chown(path, -1, gid) // not root: the socket has the daemon's own group already
		}
	}
	s := &Server{daemon: d, listener: l, slots: make(chan struct{}, maxClients)}
	s.SetSteerGroup(steerGroup)
	return s, nil
}

// SetSteerGroup changes who may steer.
func (s *Server) SetSteerGroup(group string) { s.steer.Store(&group) }

// Close removes the socket of a server that never ran.
func (s *Server) Close() error {
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// Run serves until ctx ends, and removes the socket.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headerBound, WriteTimeout: writeBound, IdleTimeout: headerBound,
		ConnContext: withPeer, BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("control socket: %w", err)
	case <-ctx.Done():
	}
	bound, cancel := context.WithTimeout(context.Background(), shutdownBound)
	defer cancel()
	if err := server.Shutdown(bound); err != nil {
		_ = server.Close()
	}
	<-ended
	return nil
}

// handler is the table of paths.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.read(func(*http.Request) (any, error) { return s.daemon.Report(), nil }))
	mux.HandleFunc("POST /v1/drain", s.steerBy(func(r *http.Request) (any, error) {
		name, err := drainName(r)
		if err != nil {
			return nil, err
		}
		return s.daemon.Drain(r.Context(), name)
	}))
	mux.HandleFunc("POST /v1/undrain", s.steerBy(func(r *http.Request) (any, error) {
		name, err := drainName(r)
		if err != nil {
			return nil, err
		}
		return struct{}{}, s.daemon.Undrain(r.Context(), name)
	}))
	mux.HandleFunc("POST /v1/reload", s.steerBy(func(r *http.Request) (any, error) { return s.daemon.Reload(r.Context()) }))
	return mux
}

// drainName reads whose drain is meant.
func drainName(r *http.Request) (string, error) {
	name := r.URL.Query().Get("for")
	if name == "" || len(name) > maxName {
		return "", fmt.Errorf("for=%q: a name of 1 to %d characters is needed", name, maxName)
	}
	return name, nil
}

// read serves what every client may have.
func (s *Server) read(do func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			reply(w, http.StatusServiceUnavailable, failure{"too many requests at once; try again"})
			return
		}
		answer, err := do(r)
		if err != nil {
			reply(w, http.StatusUnprocessableEntity, failure{err.Error()})
			return
		}
		reply(w, http.StatusOK, answer)
	}
}

// steerBy serves what only some may do.
func (s *Server) steerBy(do func(*http.Request) (any, error)) http.HandlerFunc {
	serve := s.read(do)
	return func(w http.ResponseWriter, r *http.Request) {
		p, _ := r.Context().Value(peerKey{}).(peer)
		if err := p.maySteer(*s.steer.Load()); err != nil {
			reply(w, http.StatusForbidden, failure{err.Error()})
			return
		}
		serve(w, r)
	}
}

// failure is the body of every answer that is not 200.
type failure struct {
	Error string `json:"error"`
}

// reply writes JSON; a client that is gone misses it.
func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
