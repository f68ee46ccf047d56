package notify

import (
	"context"

	"github.com/understudy-ha/understudy/internal/command"
)

// Muted returns hooks that run nothing: would is told what each would have been run for.
func Muted(hooks []Hook, would func(hook string, t Transition)) []Hook {
	muted := make([]Hook, len(hooks))
	for i, h := range hooks {
		h.Runner = mutedRunner{h.Name, would}
		muted[i] = h
	}
	return muted
}

// mutedRunner stands for a hook's own.
type mutedRunner struct {
	hook  string
	would func(hook string, t Transition)
}

// Run tells, and succeeds.
func (m mutedRunner) Run(_ context.Context, t Transition) (command.Outcome, error) {
	m.would(m.hook, t)
	return command.Outcome{Output: "not run: this is a shadow"}, nil
}
