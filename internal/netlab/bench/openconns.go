package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// How many connections lie open over each fault.
	keepAlives, downloads = 8, 4
	// keepAliveInterval is the time between two requests of a keep-alive connection.
	keepAliveInterval = 20 * time.Millisecond
	// silence is how long an open connection may bring nothing before it counts as hung. It is shorter than tailTime, so that
	// the step that did it counts it.
	silence = time.Second
	// redial is the pause before a new connection.
	redial = 50 * time.Millisecond
)

// breaks counts connections that were open and useful, and then broke.
type breaks struct {
	Open  int `json:"open"`  // how many there are
	Reset int `json:"reset"` // by the other end
	Hung  int `json:"hung"`  // nothing came for a second
	Ended int `json:"ended"` // closed in order, before its end
}

// since is what was counted after an earlier count.
func (b breaks) since(before breaks) breaks {
	return breaks{Open: b.Open, Reset: b.Reset - before.Reset, Hung: b.Hung - before.Hung, Ended: b.Ended - before.Ended}
}

func (b breaks) all() int { return b.Reset + b.Hung + b.Ended }

// openConns is keep-alive connections and slow downloads from the virtual address, each made anew after it broke.
type openConns struct {
	host    *netlab.Host
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu            sync.Mutex // guards what follows
	counts        [2]breaks  // of the keep-alive connections and the downloads
	stopDownloads context.CancelFunc
}

// openConnections opens them.
func openConnections(h *netlab.Host) *openConns {
	ctx, cancel := context.WithCancel(context.Background())
	o := &openConns{host: h, cancel: cancel}
	downloading, stop := context.WithCancel(ctx)
	o.stopDownloads = stop
	o.counts = [2]breaks{{Open: keepAlives}, {Open: downloads}}
	for range keepAlives {
		o.workers.Go(func() { o.repeat(ctx, 0, o.ask) })
	}
	for range downloads {
		o.workers.Go(func() { o.repeat(downloading, 1, o.download) })
	}
	return o
}

func (o *openConns) stop() {
	o.cancel()
	o.workers.Wait()
}

// endDownloads ends the downloads; the keep-alive connections stay.
func (o *openConns) endDownloads() { o.stopDownloads() }

func (o *openConns) count() [2]breaks {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counts
}

// repeat uses one connection after the other until ctx ends. use says whether the connection was of use before it broke.
func (o *openConns) repeat(ctx context.Context, kind int, use func(ctx context.Context, c net.Conn) (useful bool, err error)) {
	for ctx.Err() == nil {
		useful, err := o.once(ctx, use)
		if ctx.Err() != nil {
			return
		}
		if useful && err != nil {
			o.add(kind, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(redial):
		}
	}
}

func (o *openConns) once(ctx context.Context, use func(ctx context.Context, c net.Conn) (bool, error)) (bool, error) {
	dialing, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	c, err := o.host.Dial(dialing, "tcp", netip.AddrPortFrom(vip, 80).String())
	if err != nil {
		return false, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	return use(ctx, c)
}

func (o *openConns) add(kind int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		o.counts[kind].Reset++
	case errors.As(err, &timeout) && timeout.Timeout():
		o.counts[kind].Hung++
	default:
		o.counts[kind].Ended++
	}
}

// ask sends a request every now and then on one connection.
func (o *openConns) ask(ctx context.Context, c net.Conn) (useful bool, err error) {
	in := bufio.NewReader(c)
	for ctx.Err() == nil {
		if err := c.SetDeadline(time.Now().Add(silence)); err != nil {
			return useful, err
		}
		if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %v\r\n\r\n", vip); err != nil {
			return useful, err
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return useful, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return useful, err
		}
		useful = true
		// nginx closes a connection in order after so many requests; that is no break.
		if resp.Close {
			return false, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(keepAliveInterval):
		}
	}
	return useful, nil
}

// download reads one slow answer.
func (o *openConns) download(_ context.Context, c net.Conn) (useful bool, err error) {
	if err := c.SetDeadline(time.Now().Add(silence)); err != nil {
		return false, err
	}
	if _, err := fmt.Fprintf(c, "GET /download HTTP/1.1\r\nHost: %v\r\nConnection: close\r\n\r\n", vip); err != nil {
		return false, err
	}
	buf := make([]byte, downloadRate)
	for {
		n, err := c.Read(buf)
		useful = useful || n > 0
		if err != nil {
			return useful, err
		}
		if err := c.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return useful, err
		}
	}
}
