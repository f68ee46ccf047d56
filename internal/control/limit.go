package control

import (
	"errors"
	"net"
	"net/http"
	"sync"

	"golang.org/x/sys/unix"
)

// limited is a listener with a bound on the connections that are open at once: it accepts no more, and those wait in the
// kernel's queue. The connections stay what they are, so that the kernel can be asked for their peers.
type limited struct {
	*net.UnixListener
	accept func() (net.Conn, error) // its own, or what a test puts before it
	room   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func limit(l *net.UnixListener, n int) *limited {
	return &limited{UnixListener: l, accept: l.Accept, room: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept waits for room, then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.accept()
	if err != nil {
		<-l.room
	}
	return c, passing(err)
}

// passing has the server try again, as it does where there is no descriptor, what the kernel had no memory for (accept(2)): the end of
// the control socket would be that of the daemon.
func passing(err error) error {
	if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOBUFS) {
		return temporary{err}
	}
	return err
}

// temporary is a net.Error after which it may go on.
type temporary struct{ error }

func (temporary) Timeout() bool   { return false }
func (temporary) Temporary() bool { return true }

// Close ends an Accept that waits for room, too.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.UnixListener.Close()
}

// connState is the server's word that a connection has ended: there is room for another.
func (l *limited) connState(_ net.Conn, state http.ConnState) {
	if state == http.StateClosed {
		<-l.room
	}
}
