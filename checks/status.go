package checks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// StatusRange is a range of HTTP status codes, both ends included; as text "200" or "200-399".
type StatusRange struct {
	Low, High int
}

const (
	lowestStatus  = 100
	highestStatus = 599
)

// UnmarshalText parses "200" or "200-399".
func (r *StatusRange) UnmarshalText(text []byte) error {
	low, high, isRange := strings.Cut(string(text), "-")
	if !isRange {
		high = low
	}
	l, errLow := statusCode(low)
	h, errHigh := statusCode(high)
	if errLow != nil || errHigh != nil || l > h {
		return fmt.Errorf("%q is no status or range of them between %d and %d, such as \"200\" or \"200-399\"", text, lowestStatus, highestStatus)
	}
	*r = StatusRange{Low: l, High: h}
	return nil
}

func statusCode(s string) (int, error) {
	// ParseUint takes no sign, Atoi would.
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, err
	}
	if len(s) != 3 || n < lowestStatus || n > highestStatus {
		return 0, strconv.ErrRange
	}
	return int(n), nil
}

// String is the text form of a range.
func (r StatusRange) String() string {
	if r.Low == r.High {
		return strconv.Itoa(r.Low)
	}
	return fmt.Sprintf("%d-%d", r.Low, r.High)
}

// MarshalText is the inverse of UnmarshalText.
func (r StatusRange) MarshalText() ([]byte, error) {
	return []byte(r.String()), nil
}

func statusExpected(ranges []StatusRange, code int) bool {
	return slices.ContainsFunc(ranges, func(r StatusRange) bool { return r.Low <= code && code <= r.High })
}

func statusNames(ranges []StatusRange) string {
	names := make([]string, len(ranges))
	for i, r := range ranges {
		names[i] = r.String()
	}
	return strings.Join(names, ", ")
}
