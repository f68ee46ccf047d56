package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/config"
)

// validateCommand checks a configuration offline.
func validateCommand() *cobra.Command {
	var f hostFlags
	var nodes []string
	var strict, asJSON bool
	cmd := &cobra.Command{
		Use:   "validate [PATH ...]",
		Short: "Check a configuration, and prove that each failing check can move the addresses",
		Long: "Checks a configuration file of any name, a fragment, or a directory. It needs no rights, no network and no running\n" +
			"daemon. What this machine lacks (a script, a CA file) is a warning, since the file may be another machine's; run refuses it.\n" +
			"Exits 0 when the configuration can be run, 1 when it cannot (with --strict also when it warns).",
		RunE: func(cmd *cobra.Command, args []string) error {
			paths := f.config
			if len(args) > 0 {
				if cmd.Flags().Changed("config") {
					return usageError{fmt.Errorf("write the paths behind validate or with --config, not both")}
				}
				paths = args
			}
			if slices.Contains(paths, "") {
				return usageError{errors.New("validate: one of the paths is empty")}
			}
			return validate(cmd, paths, nodes, strict, asJSON)
		},
	}
	f.addConfig(cmd)
	cmd.ValidArgsFunction = completeFiles
	cmd.Flags().StringArrayVar(&nodes, "node", nil, "evaluate as this `name`; repeatable (default: this node and every name in expect)")
	cmd.Flags().BoolVar(&strict, "strict", false, "let warnings fail too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return cmd
}

// validate prints what there is to say, and one line of a verdict.
func validate(cmd *cobra.Command, paths, nodes []string, strict, asJSON bool) error {
	r := config.Validate(paths, nodes, config.Options{Helper: defaultHelper})
	if asJSON {
		out, err := r.JSON()
		if err != nil {
			return fmt.Errorf("print the findings as JSON: %w", err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n", out)
	} else {
		fmt.Fprint(cmd.OutOrStdout(), r.Text())
		fmt.Fprintln(cmd.OutOrStdout(), verdict(r, strict))
	}
	if !r.OK(strict) {
		return exitCode(exitError)
	}
	return nil
}

// verdict is the last line.
func verdict(r config.Report, strict bool) string {
	word := "valid"
	if !r.OK(strict) {
		word = "not valid"
	}
	return fmt.Sprintf("%s for %v: %s, %s", word, r.Nodes, count(r.Count(config.Error), "error"), count(r.Count(config.Warning), "warning"))
}

// count is a number of things in words.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
