package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/node"
)

// statusOfCheck shows one check.
func statusOfCheck(cmd *cobra.Command, r node.Report, name string, asJSON bool) error {
	at := slices.IndexFunc(r.Checks, func(c node.CheckReport) bool { return c.Name == name })
	if at < 0 {
		var names []string
		for _, c := range r.Checks {
			names = append(names, c.Name)
		}
		return fmt.Errorf("no check %q here; there are: %s", name, strings.Join(names, ", "))
	}
	c := r.Checks[at]
	if asJSON {
		if err := printJSON(cmd, c); err != nil {
			return err
		}
	} else {
		fmt.Fprint(cmd.OutOrStdout(), checkScreen(c, time.Now()))
	}
	switch {
	case !c.Known:
		return exitCode(exitBackup)
	case !c.Healthy:
		return exitCode(exitFault)
	}
	return nil
}

// checkScreen is a check's line, and below it what is kept of its last output.
func checkScreen(c node.CheckReport, now time.Time) string {
	var b strings.Builder
	checkLines(&b, []node.CheckReport{c}, now)
	hintLines(&b, []node.CheckReport{c})
	for line := range strings.Lines(c.Output) {
		fmt.Fprintf(&b, "  | %s\n", strings.TrimRight(line, "\n"))
	}
	return printable(b.String())
}

// checkNames are the names of the checks, with their verdicts.
func checkNames(r node.Report) (names []cobra.Completion) {
	for _, c := range r.Checks {
		names = append(names, cobra.CompletionWithDesc(c.Name, "check, "+strings.ToLower(health(c))))
	}
	return names
}
