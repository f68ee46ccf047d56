package immunity

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// floodCommand makes this test binary the program that floods.
	floodCommand = "flood"
	// slice is how often it catches up with its rate, and burst how many frames it gives the kernel at once.
	slice = time.Millisecond
	burst = 64
)

// flood is a running flooder.
type flood struct{ proc *netlab.Proc }

// outpour is what became of a flood. The kernel carries a frame through the switch and into the hosts in the flooder's own time.
type outpour struct {
	Packets int
	Took    time.Duration
	// Ran is how much of that the flooder had a processor, and Rested how much it had nothing to do.
	Ran, Rested time.Duration
}

// rate is how many packets a second were sent.
func (o outpour) rate() int { return int(float64(o.Packets) / o.Took.Seconds()) }

// waited is how much of the time it wanted a processor and had none.
func (o outpour) waited() time.Duration { return max(o.Took-o.Ran-o.Rested, 0) }

// limit is how many it would be with a processor of its own and no rest.
func (o outpour) limit() int { return int(float64(o.Packets) / o.Ran.Seconds()) }

// startFlood sends frames in turn from a host, so many a second, for a while.
func startFlood(t *testing.T, h *netlab.Host, rate int, lasts time.Duration, frames [][]byte) *flood {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := make([]string, len(frames))
	for n, f := range frames {
		text[n] = hex.EncodeToString(f)
	}
	p, err := h.Start(self, floodCommand, strconv.Itoa(rate), lasts.String(), strings.Join(text, ","))
	if err != nil {
		t.Fatal(err)
	}
	return &flood{p}
}

// end waits for the flood's end.
func (f *flood) end(t *testing.T) (o outpour) {
	t.Helper()
	if err := f.proc.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(f.proc.Output()), &o); err != nil {
		t.Fatalf("the flooder says %q: %v", f.proc.Output(), err)
	}
	return o
}

// floodMain is the program: flood RATE DURATION FRAME,FRAME...
func floodMain(args []string) int {
	o, err := sendFlood(args)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func sendFlood(args []string) (o outpour, err error) {
	if len(args) != 3 {
		return o, errors.New("want: RATE DURATION FRAMES")
	}
	rate, err := strconv.Atoi(args[0])
	if err != nil {
		return o, err
	}
	lasts, err := time.ParseDuration(args[1])
	if err != nil {
		return o, err
	}
	var frames [][]byte
	for text := range strings.SplitSeq(args[2], ",") {
		f, err := hex.DecodeString(text)
		if err != nil {
			return o, err
		}
		frames = append(frames, f)
	}
	fd, err := rawSocket()
	if err != nil {
		return o, err
	}
	defer unix.Close(fd)
	ring := newMessages(frames)
	for begin := time.Now(); ; {
		if o.Took = time.Since(begin); o.Took >= lasts {
			o.Ran, err = ran()
			return o, err
		}
		if due := int(o.Took.Seconds() * float64(rate)); o.Packets < due {
			if err := ring.send(fd, min(burst, due-o.Packets)); err != nil {
				return o, err
			}
			o.Packets = ring.sent
			continue
		}
		from := time.Now()
		time.Sleep(slice)
		o.Rested += min(time.Since(from), slice) // what is more it waited for a processor
	}
}

// rawSocket is for whole frames. They go straight to the interface.
func rawSocket() (int, error) {
	link, err := net.InterfaceByName(netlab.Interface)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	return fd, errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index}),
	)
}

// ran is how long this process has had a processor.
func ran() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// messages are frames as sendmmsg(2) takes them.
type messages struct {
	list []message
	vecs []unix.Iovec
	sent int
}

// message is struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// newMessages makes as many as there are frames, and whole bursts behind the last of them.
func newMessages(frames [][]byte) *messages {
	m := &messages{list: make([]message, len(frames)+burst), vecs: make([]unix.Iovec, len(frames)+burst)}
	for n := range m.list {
		f := bytes.Clone(frames[n%len(frames)])
		m.vecs[n].Base = &f[0]
		m.vecs[n].SetLen(len(f))
		m.list[n].header.Iov = &m.vecs[n]
		m.list[n].header.SetIovlen(1)
	}
	return m
}

// send sends the next frames, at most a burst.
func (m *messages) send(fd, count int) error {
	for count > 0 {
		from := m.sent % (len(m.list) - burst)
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.list[from])), uintptr(count), 0, 0, 0)
		switch errno {
		case 0:
			m.sent += int(n)
			count -= int(n)
		case syscall.EINTR, syscall.ENOBUFS:
		default:
			return os.NewSyscallError("sendmmsg", errno)
		}
	}
	return nil
}
