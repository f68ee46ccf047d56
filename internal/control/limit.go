package control

import (
	"net"
	"net/http"
	"sync"
)

// limited is a listener with a bound on the connections that are open at once: it accepts no more, and those wait in the
// kernel's queue. The connections stay what they are, so that the kernel can be asked for their peers.
type limited struct {
	*net.UnixListener
	room   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func limit(l *net.UnixListener, n int) *limited {
	return &limited{UnixListener: l, room: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept waits for room, then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.UnixListener.Accept()
	if err != nil {
		<-l.room
	}
	return c, err
}

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
