package notify

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/understudy-ha/understudy/internal/command"
)

// NginxOptions are the options of kind nginx.
type NginxOptions struct {
	Binary string `hcl:"binary,optional" default:"nginx" doc:"The nginx program, an absolute path or a name to look up in PATH."`
	Config string `hcl:"config,optional" doc:"The configuration file, nginx's -c. Left out: the one that nginx was built for."`
	Prefix string `hcl:"prefix,optional" doc:"The directory that relative paths start from, nginx's -p. Left out: the one that nginx was built for."`
}

// Validate implements Options.
func (o *NginxOptions) Validate() []OptionError {
	var mistakes []OptionError
	add := func(option, reason string) {
		if reason != "" {
			mistakes = append(mistakes, OptionError{Option: option, Reason: reason})
		}
	}
	add("binary", programMistake(o.Binary))
	add("config", wordMistake(o.Config))
	add("prefix", wordMistake(o.Prefix))
	return mistakes
}

// New implements Options.
func (o *NginxOptions) New() (Runner, error) {
	r := nginx{binary: o.Binary}
	if o.Config != "" {
		r.flags = append(r.flags, "-c", o.Config)
	}
	if o.Prefix != "" {
		r.flags = append(r.flags, "-p", o.Prefix)
	}
	return r, nil
}

// nginx tests the configuration of nginx and reloads nginx if the test passes. The master process that gets the signal
// works on its own from there: what fails only then (a port that another program took meanwhile) stands in nginx's
// error log, and the old workers serve on.
type nginx struct {
	binary   string
	flags    []string
	user     string
	onlyRoot bool
}

var _ commandRunner = nginx{}

func (r nginx) as(user string, onlyRoot bool) Runner {
	r.user, r.onlyRoot = user, onlyRoot
	return r
}

func (r nginx) verify() error { return command.Verify(r.spec()) }

func (r nginx) spec(action ...string) command.Spec {
	argv := append([]string{r.binary}, r.flags...)
	return command.Spec{Argv: append(argv, action...), User: r.user, OnlyRoot: r.onlyRoot}
}

// Run implements Runner. The transition does not matter: nginx has one configuration for all instances.
func (r nginx) Run(ctx context.Context, _ Transition) (command.Outcome, error) {
	test, err := command.Run(ctx, r.spec("-t", "-q"))
	if err != nil {
		return test, fmt.Errorf("test of nginx's configuration: %w; nginx was not reloaded", withReason(err, test))
	}
	reload, err := command.Run(ctx, r.spec("-s", "reload"))
	if err != nil && notRunning.MatchString(reload.Output) {
		return reload, fmt.Errorf("nginx is not running, so there is nothing to reload: %w; it reads its configuration when it is started",
			withReason(err, reload))
	}
	if err != nil {
		return reload, fmt.Errorf("reload nginx: %w", withReason(err, reload))
	}
	// The test's warnings are worth keeping, and -q left nothing else of it.
	return command.Outcome{Output: tail(test.Output + reload.Output), Took: test.Took + reload.Took}, nil
}

// tail keeps the end of a text as package command does.
func tail(output string) string {
	return strings.ToValidUTF8(output[max(0, len(output)-command.MaxOutput):], "")
}

// notRunning matches how `nginx -s reload` says that the pid file is missing (ENOENT), is empty or names no process
// (ESRCH). An empty one is the rule: the configuration test creates the file where it is missing.
var notRunning = regexp.MustCompile(`open\(\) "[^"]*" failed \(2:|invalid PID number|kill\(\d+, \d+\) failed \(3:`)

// complaint matches nginx's own words in a line of its output. Before them stand "nginx: " or, where the error log is
// stderr, the date; after the level there may be the process: [emerg] 812#812: ...
var complaint = regexp.MustCompile(`(?m)(\[(?:emerg|alert|crit|error)\]) (?:\d+#\d+: )?(.*)$`)

// withReason adds nginx's own reason to the error of its run. The first complaint is the cause of the others.
func withReason(err error, outcome command.Outcome) error {
	if m := complaint.FindStringSubmatch(outcome.Output); m != nil {
		return fmt.Errorf("%w: nginx: %s %s", err, m[1], m[2])
	}
	if last := outcome.LastLine(); last != "" {
		return fmt.Errorf("%w: %s", err, last)
	}
	return err
}
