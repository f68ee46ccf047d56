package netlab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// clientInterval is the default time between two connections of a client.
	clientInterval = 5 * time.Millisecond
	// clientDeadline is how long a connection may take in all: a user's second try of a lost SYN, and no third.
	clientDeadline = 1500 * time.Millisecond
	// pacerNice is the priority of the thread that starts the connections.
	pacerNice = -15
	// answerLimit bounds the answer that is read.
	answerLimit = 4 << 10
)

// ClientOptions is what a client may do otherwise than by default.
type ClientOptions struct {
	// Interval is the time between the starts of two connections. 0 means 5 ms.
	Interval time.Duration
	// Path is what is asked for. Left out: "/".
	Path string
}

// Client opens a new HTTP connection to one address every few milliseconds, whether or not earlier ones have ended, and
// records what became of each.
type Client struct {
	host    *Host
	target  netip.AddrPort
	request []byte
	every   time.Duration
	stop    context.CancelFunc
	pacer   sync.WaitGroup
	open    sync.WaitGroup
	err     error // of the pacer; readable after Stop

	mu       sync.Mutex // guards what follows
	attempts []Attempt
	ended    []bool // parallel to attempts
}

// Client starts a client on the host. It runs until Stop, and at most until the lab closes.
func (h *Host) Client(target netip.AddrPort, opts ClientOptions) *Client {
	if opts.Interval == 0 {
		opts.Interval = clientInterval
	}
	if opts.Path == "" {
		opts.Path = "/"
	}
	c := &Client{host: h, target: target, every: opts.Interval}
	c.request = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %v\r\nConnection: close\r\n\r\n", opts.Path, target)
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.pacer.Go(func() {
		// One thread makes all sockets, in the namespace. From then on they are served like any other.
		c.err = h.ns.do(func() error { return c.pace(ctx) })
	})
	return c
}

// pace starts connections at their times. Times missed by a stall of the machine are left out, not made up for in a burst.
func (c *Client) pace(ctx context.Context) error {
	// A socket keeps its port for a minute; at hundreds a second the default range is too small.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("1024 65535"), 0); err != nil {
		return err
	}
	// A user has a machine of his own: what the hosts do must not keep him waiting.
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, pacerNice); err != nil {
		return fmt.Errorf("raise the priority of the client: %w", err)
	}
	defer unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
	next := time.Now()
	for ctx.Err() == nil {
		now := time.Now()
		if early := next.Sub(now); early > 0 {
			// This thread sleeps by itself: a timer of Go's waits in whole milliseconds, and for another thread.
			sleep := unix.NsecToTimespec(early.Nanoseconds())
			if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &sleep, nil); err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("sleep: %w", err)
			}
			continue
		}
		c.start(now)
		next = next.Add(c.every)
		if late := now.Sub(next); late > 0 {
			next = next.Add(late.Truncate(c.every) + c.every)
		}
	}
	return nil
}

func (c *Client) start(now time.Time) {
	c.mu.Lock()
	n := len(c.attempts)
	c.attempts = append(c.attempts, Attempt{Start: now})
	c.ended = append(c.ended, false)
	c.mu.Unlock()
	conn, err := connect(c.target)
	if err != nil {
		c.end(n, "", err)
		return
	}
	c.open.Go(func() {
		defer conn.Close()
		server, err := c.ask(conn, now.Add(clientDeadline), func() { c.established(n) })
		c.end(n, server, err)
	})
}

func (c *Client) established(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &c.attempts[n]
	a.Established = time.Since(a.Start)
}

func (c *Client) end(n int, server string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &c.attempts[n]
	a.Took, a.Server, a.Err = time.Since(a.Start), server, err
	c.ended[n] = true
}

// connect begins a TCP connection in the namespace of the current thread and does not wait for it.
func connect(target netip.AddrPort) (*os.File, error) {
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(target.Port()), Addr: target.Addr().As16()})
	if target.Addr().Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(target.Port()), Addr: target.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := unix.Connect(fd, to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return nil, errors.Join(fmt.Errorf("connect: %w", err), unix.Close(fd))
	}
	// Of a non-blocking descriptor os makes a file with deadlines.
	return os.NewFile(uintptr(fd), "tcp "+target.String()), nil
}

// ask sends the request and reads the answer: its body is the name of the host. It says when the connection is established.
func (c *Client) ask(conn *os.File, deadline time.Time, established func()) (string, error) {
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	// The first write waits for the connection, and returns its error if there is none.
	if _, err := conn.Write(c.request); err != nil {
		return "", short("connect", err)
	}
	established()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", short("read", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return "", short("read", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	return strings.TrimSpace(string(body)), nil
}

// short leaves the path out of a file's error.
func short(doing string, err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = errno
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		err = os.ErrDeadlineExceeded
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Stop ends the client once its open connections have ended, at most 1.5 s later. Its error says that it could not run.
func (c *Client) Stop() error {
	c.stop()
	c.pacer.Wait()
	c.open.Wait()
	if c.err != nil {
		return fmt.Errorf("client on %s: %w", c.host.name, c.err)
	}
	return nil
}

// Between returns the connections that were started between two instants. It waits until all of these have ended, at most
// until 1.5 s after the second one.
func (c *Client) Between(from, to time.Time) Attempts {
	for {
		a, all := c.between(from, to)
		if all && !time.Now().Before(to) {
			return Attempts{From: from, To: to, List: a}
		}
		time.Sleep(pollInterval)
	}
}

// between also says whether all that were started have ended, which the deadline guarantees in the end.
func (c *Client) between(from, to time.Time) (list []Attempt, all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all = true
	for i, a := range c.attempts {
		if a.Start.Before(from) || a.Start.After(to) {
			continue
		}
		list = append(list, a)
		all = all && c.ended[i]
	}
	return list, all
}
