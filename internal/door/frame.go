package door

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Version is that of the protocol: of the frames and of what is in them. It changes with whatever the other side would guess the
// meaning of, and not with a key that it refuses by itself: after an upgrade a daemon that could not be exchanged runs on, and its
// checks and hooks with the new helper.
const Version = 1

// The bounds of what is read from the other side, in bytes.
const (
	maxRequest = 256 << 10 // the longest reason, each byte of which may take six in JSON, and 1,000 IPv6 addresses
	maxAnswer  = 64 << 10  // the longest output and error likewise
	maxHeader  = 64
	maxQuote   = 32 // of what is no header
	// maxComplaint is how much is said about what is no message, in characters.
	maxComplaint = 200
)

// magic begins each frame.
const magic = "understudy-helper"

// errVersion is a frame of another version.
type errVersion int

func (e errVersion) Error() string { return fmt.Sprintf("version %d of the protocol", int(e)) }

// writeFrame writes a message in one piece: a line with the version and the length, then so many bytes of JSON.
func writeFrame(w io.Writer, message any, limit int) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(body) > limit {
		return fmt.Errorf("%d bytes; allowed: at most %d", len(body), limit)
	}
	_, err = w.Write(append(fmt.Appendf(nil, "%s %d %d\n", magic, Version, len(body)), body...))
	return err
}

// readFrame reads a message of at most limit bytes of JSON into what message points to. Keys that this version does not have
// are refused. The error is io.EOF if nothing came at all.
func readFrame(r *bufio.Reader, message any, limit int) error {
	header, err := readHeader(r)
	if err != nil {
		return err
	}
	version, length, err := parseHeader(header)
	switch {
	case err != nil:
		return err
	case version != Version: // before the length, which may mean something else there
		return errVersion(version)
	case length > limit:
		return fmt.Errorf("a message of %d bytes; allowed: at most %d", length, limit)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("a message of %d bytes: %w", length, noEOF(err))
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	switch err := noEOF(d.Decode(message)); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("a message that is not understood: %w", err)
	case err != nil: // which quotes what was sent, however long
		return fmt.Errorf("a message that is not understood: %.*s", maxComplaint, err.Error())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one message in a frame")
	}
	return nil
}

// readHeader reads a line that is no longer than it may be.
func readHeader(r *bufio.Reader) (string, error) {
	var line []byte
	for len(line) < maxHeader {
		b, err := r.ReadByte()
		switch {
		case err != nil && len(line) == 0:
			return "", err
		case err != nil:
			return "", fmt.Errorf("half a header: %w", noEOF(err))
		case b == '\n':
			return string(line), nil
		}
		line = append(line, b)
	}
	return "", errNoHeader(string(line))
}

func parseHeader(header string) (version, length int, err error) {
	words := strings.Split(header, " ")
	if len(words) < 2 || words[0] != magic {
		return 0, 0, errNoHeader(header)
	}
	if version, err = number(words[1]); err != nil {
		return 0, 0, errNoHeader(header)
	}
	if version != Version {
		return version, 0, nil
	}
	if len(words) != 3 {
		return 0, 0, errNoHeader(header)
	}
	if length, err = number(words[2]); err != nil {
		return 0, 0, errNoHeader(header)
	}
	return version, length, nil
}

// number reads a decimal number as it is written here: no sign, and no zero in front of another digit.
func number(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err == nil && (n < 0 || strconv.Itoa(n) != s) {
		err = strconv.ErrSyntax
	}
	return n, err
}

// errNoHeader is what is no frame of this protocol.
type errNoHeader string

func (e errNoHeader) Error() string {
	return fmt.Sprintf("it begins with %q, which is not understudy's", string(e[:min(len(e), maxQuote)]))
}

// noEOF is an end that came too early, in words.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
