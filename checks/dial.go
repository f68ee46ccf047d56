package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
)

// maxRead is how much of an answer a check reads and searches, in bytes.
const maxRead = 64 << 10

// The phases of a check over the network, as they appear after "timed out after 500ms ".
const (
	phaseConnecting = "connecting"
	phaseHandshake  = "in the TLS handshake"
	phaseSending    = "sending the request"
	phaseHeader     = "waiting for the response header"
	phaseBody       = "reading the response body"
	phaseAnswer     = "waiting for the answer"
)

// phase is what a check is just doing; callbacks of net/http set it from other goroutines.
type phase struct{ atomic.Pointer[string] }

func (p *phase) set(s string) { p.Store(&s) }

func (p *phase) String() string {
	if s := p.Load(); s != nil {
		return *s
	}
	return phaseConnecting
}

// explain puts the error of a network check into words that make sense at night.
func explain(ctx context.Context, err error, during string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w %s", context.Cause(ctx), during)
	}
	op, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return err
	}
	if op.Op == "dial" && op.Addr != nil {
		return fmt.Errorf("connect to %s: %w", op.Addr, cause(op))
	}
	if op.Op == "read" || op.Op == "write" {
		return fmt.Errorf("%s: %w", during, cause(op))
	}
	return err
}

// cause is the errno of a network error, which says all, or what the error wraps.
func cause(op *net.OpError) error {
	if errno, ok := errors.AsType[syscall.Errno](op); ok {
		return errno
	}
	return op.Err
}
