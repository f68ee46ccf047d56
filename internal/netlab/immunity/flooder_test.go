package immunity

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/mdlayher/packet"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// floodCommand makes this test binary the program that floods.
	floodCommand = "flood"
	// slice is how often it catches up with its rate.
	slice = time.Millisecond
)

// flood is a running flooder.
type flood struct{ proc *netlab.Proc }

// startFlood sends frames in turn from a host, so many a second, for a while.
func startFlood(t *testing.T, h *netlab.Host, rate int, lasts time.Duration, frames [][]byte) *flood {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{self, floodCommand, strconv.Itoa(rate), lasts.String()}
	for _, f := range frames {
		args = append(args, hex.EncodeToString(f))
	}
	p, err := h.Start(args...)
	if err != nil {
		t.Fatal(err)
	}
	return &flood{p}
}

// end waits for the flood's end and returns how many packets a second it sent.
func (f *flood) end(t *testing.T) int {
	t.Helper()
	if err := f.proc.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent := regexp.MustCompile(`(\d+) a second`).FindStringSubmatch(f.proc.Output())
	if sent == nil {
		t.Fatalf("the flooder says %q", f.proc.Output())
	}
	rate, err := strconv.Atoi(sent[1])
	if err != nil {
		t.Fatal(err)
	}
	return rate
}

// floodMain is the program: flood RATE DURATION FRAME...
func floodMain(args []string) int {
	if err := sendFlood(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func sendFlood(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("want: RATE DURATION FRAME")
	}
	rate, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	lasts, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	var frames [][]byte
	for _, text := range args[2:] {
		f, err := hex.DecodeString(text)
		if err != nil {
			return err
		}
		frames = append(frames, f)
	}
	link, err := net.InterfaceByName(netlab.Interface)
	if err != nil {
		return err
	}
	conn, err := packet.Listen(link, packet.Raw, 0, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	sent, begin := 0, time.Now()
	for {
		took := time.Since(begin)
		if took >= lasts {
			fmt.Printf("%d packets in %s: %d a second\n", sent, took, int(float64(sent)/took.Seconds()))
			return nil
		}
		for due := int(took.Seconds() * float64(rate)); sent < due; sent++ {
			f := frames[sent%len(frames)]
			if _, err := conn.WriteTo(f, &packet.Addr{HardwareAddr: net.HardwareAddr(f[:6])}); err != nil {
				return err
			}
		}
		time.Sleep(slice)
	}
}
