package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// Bounds of the server.
const (
	// maxClients is how many requests are worked on at once, of those that read and of those that steer; one more is told
	// to come back. A slow reader of its answer does not count: the answer is complete by then.
	maxClients = 32
	// maxConnections is how many connections are open at once; one more waits. It keeps clients from using up the
	// descriptors that the daemon needs for its sockets.
	maxConnections = 128
	headerBound    = 5 * time.Second
	// bodyBound is how long a body that nobody asked for is read, so that the client sees the answer.
	bodyBound = time.Second
	maxHeader = 16 << 10
	// writeBound covers the longest drain too.
	writeBound    = 30 * time.Second
	maxName       = 64
	shutdownBound = time.Second
	socketGroup   = "understudy"
)

// Server serves the control socket.
type Server struct {
	daemon   Daemon
	listener *limited
	socket   *net.UnixListener
	lock     *os.File
	steer    atomic.Pointer[string]
	readers  slots
	steerers slots
}

// Listen makes the runtime directory and the socket in it, 0660 and of the group understudy where there is one. A socket
// that a dead daemon left behind is replaced. While another daemon lives on the same directory it is an error, whether or
// not that one answers: two daemons must not share a runtime directory. A cleanup that is at work there is waited for; waits, unless it
// is nil, is told first, and for how long at most.
func Listen(runtimeDir, steerGroup string, d Daemon, waits func(most time.Duration)) (*Server, error) {
	lock, err := lockDir(runtimeDir, cleanupBound, waits)
	if err != nil {
		return nil, err
	}
	l, err := listen(filepath.Join(runtimeDir, socketName))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return newServer(l, lock, steerGroup, d), nil
}

func newServer(l *net.UnixListener, lock *os.File, steerGroup string, d Daemon) *Server {
	s := &Server{
		daemon: d, listener: limit(l, maxConnections), socket: l, lock: lock,
		readers: make(slots, maxClients), steerers: make(slots, maxClients),
	}
	s.SetSteerGroup(steerGroup)
	return s
}

// Inherit makes a server of the Files that another program in this process had. Whoever has connected since is served.
func Inherit(files []*os.File, steerGroup string, d Daemon) (*Server, error) {
	if len(files) != 2 {
		return nil, fmt.Errorf("control socket: %d files were inherited, want 2", len(files))
	}
	l, err := net.FileListener(files[0])
	_ = files[0].Close() // it was copied
	if err != nil {
		return nil, fmt.Errorf("inherit the control socket: %w", err)
	}
	socket, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("inherit the control socket: it is a %T", l), l.Close())
	}
	socket.SetUnlinkOnClose(true)
	return newServer(socket, files[1], steerGroup, d), nil
}

// Files are the socket and the lock of the runtime directory, for another program in this process.
func (s *Server) Files() []syscall.Conn { return []syscall.Conn{s.socket, s.lock} }

// SetSteerGroup changes who may steer.
func (s *Server) SetSteerGroup(group string) { s.steer.Store(&group) }

// Close removes the socket if Run has not, and lets another daemon have the runtime directory.
func (s *Server) Close() error {
	err := s.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	if err := errors.Join(err, s.lock.Close()); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// Run serves until ctx ends, and removes the socket.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headerBound, WriteTimeout: writeBound, IdleTimeout: headerBound, MaxHeaderBytes: maxHeader,
		ConnContext: withPeer, ConnState: s.listener.connState, BaseContext: func(net.Listener) context.Context { return ctx },
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
	mux.HandleFunc("GET /v1/status", s.readers.serve(func(*http.Request) (any, error) { return s.daemon.Report(), nil }))
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
		var u node.Undrained
		if before := s.daemon.Report().Node; before != nil {
			u.Unknown = !slices.Contains(before.Drained, name)
		}
		return u, s.daemon.Undrain(r.Context(), name)
	}))
	mux.HandleFunc("POST /v1/reexec", s.byRoot(func(r *http.Request) (any, error) { return nil, s.daemon.Reexec(r.Context()) }))
	mux.HandleFunc("POST /v1/reload", s.steerBy(func(r *http.Request) (any, error) { return s.daemon.Reload(r.Context()) }))
	return bodiless(mux)
}

// bodiless refuses requests with a body: none here has one, and who announces one and never sends it would keep its connection
// for good. (The server's ReadTimeout would end a drain that takes longer, too.)
func bodiless(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			next.ServeHTTP(w, r)
			return
		}
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyBound)) // a connection can
		w.Header().Set("Connection", "close")
		reply(w, http.StatusBadRequest, failure{"a request here has no body"})
	})
}

// drainName reads whose drain is meant.
func drainName(r *http.Request) (string, error) {
	name := r.URL.Query().Get("for")
	return name, CheckDrainName(name)
}

// CheckDrainName says why nobody can drain by a name: one that a daemon would not take could not be lifted while it runs.
func CheckDrainName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("drain for %.*q: a name of 1 to %d characters is needed", maxName, name, maxName)
	}
	return nil
}

// slots bounds how many requests of one sort are worked on at once.
type slots chan struct{}

// serve answers with what do returns. Its slot is free again before the answer is written: a client that is slow to read
// keeps no other from being served.
func (s slots) serve(do func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s <- struct{}{}:
		default:
			reply(w, http.StatusServiceUnavailable, failure{"too many requests at once; try again"})
			return
		}
		code, answer := s.work(r, do)
		reply(w, code, answer)
	}
}

// work does what was asked, and gives the slot back, also when it panics.
func (s slots) work(r *http.Request, do func(*http.Request) (any, error)) (code int, answer any) {
	defer func() { <-s }()
	answer, err := do(r)
	if err != nil {
		return http.StatusUnprocessableEntity, failure{err.Error()}
	}
	return http.StatusOK, answer
}

// steerBy serves what only some may do.
func (s *Server) steerBy(do func(*http.Request) (any, error)) http.HandlerFunc {
	return s.guarded(do, func(p peer) error { return p.maySteer(*s.steer.Load(), uint32(os.Geteuid())) })
}

// byRoot serves what only root may do: the daemon becomes another program by it, with all its rights.
func (s *Server) byRoot(do func(*http.Request) (any, error)) http.HandlerFunc {
	return s.guarded(do, func(p peer) error {
		if p.err != nil || p.uid != 0 {
			return errors.New("only root may exchange the daemon's program")
		}
		return nil
	})
}

// guarded serves who may, and while who asks waits for the answer.
func (s *Server) guarded(do func(*http.Request) (any, error), may func(peer) error) http.HandlerFunc {
	serve := s.steerers.serve(do)
	return func(w http.ResponseWriter, r *http.Request) {
		p := peerIn(r.Context())
		if err := may(p); err != nil {
			reply(w, http.StatusForbidden, failure{err.Error()})
			return
		}
		if p.gone() {
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
