package netlab

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestEventually(t *testing.T) {
	gone := errors.New("interrupted")
	tests := []struct {
		name    string
		trueAt  time.Duration
		cancel  time.Duration
		wantErr string
		wantFor time.Duration
	}{
		{"true at once", 0, time.Hour, "", 0},
		{"true within the bound", 900 * time.Millisecond, time.Hour, "", 900 * time.Millisecond},
		{"never true", time.Hour, time.Hour, "not yet (not within 1s)", time.Second},
		{"interrupted", time.Hour, 300 * time.Millisecond, "not yet (interrupted)", 300 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer time.AfterFunc(tt.cancel, func() { cancel(gone) }).Stop()
				begin := time.Now()
				err := Eventually(ctx, time.Second, func() (bool, string) {
					return time.Since(begin) >= tt.trueAt, "not yet"
				})
				if got := errorText(err); got != tt.wantErr {
					t.Errorf("error %q, want %q", got, tt.wantErr)
				}
				if got := time.Since(begin); got != tt.wantFor {
					t.Errorf("took %v, want %v", got, tt.wantFor)
				}
			})
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
