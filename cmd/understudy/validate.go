package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/daemon"
)

// validateFlags are those of validate.
type validateFlags struct {
	hostFlags
	nodes                []string
	here, strict, asJSON bool
}

// validateCommand checks a configuration offline.
func validateCommand() *cobra.Command {
	var f validateFlags
	cmd := &cobra.Command{
		Use:   "validate [PATH ...]",
		Short: "Check a configuration, and prove that each failing check can move the addresses",
		Long: "Checks a configuration file of any name, a fragment, or a directory. It needs no rights, no network and no running\n" +
			"daemon. What this host lacks (a script, a key that the daemon may read, an interface with an address) is a warning,\n" +
			"since the file may be another host's. With --here it is an error: before a start or a reload on this host. Files that\n" +
			"are named one by one may be on their way to their place; of a directory it then also judges who may read and write it.\n\n" +
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
			return validate(cmd, paths, &f)
		},
	}
	f.addConfig(cmd)
	f.addRuntimeDir(cmd)
	cmd.ValidArgsFunction = completeFiles
	cmd.Flags().StringArrayVar(&f.nodes, "node", nil, "evaluate as this `name`; repeatable (default: this node and every name in expect)")
	cmd.Flags().BoolVar(&f.here, "here", false, "fail for what this host lacks; it is the node of its name, or else the first --node")
	cmd.Flags().BoolVar(&f.strict, "strict", false, "let warnings fail too")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print the findings as JSON")
	return cmd
}

// validate prints what there is to say, and one line of a verdict.
func validate(cmd *cobra.Command, paths []string, f *validateFlags) error {
	r := config.Validate(paths, f.nodes, config.Options{Helper: defaultHelper, Here: f.here, Judge: func(c *config.Config) (map[string]string, error) {
		return daemon.Judge(c, f.runtimeDir)
	}, Remarks: daemon.Remarks})
	if f.asJSON {
		out, err := r.JSON()
		if err != nil {
			return fmt.Errorf("print the findings as JSON: %w", err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n", out)
	} else {
		fmt.Fprint(cmd.OutOrStdout(), r.Text())
		fmt.Fprintln(cmd.OutOrStdout(), verdict(r, f.strict))
	}
	if !r.OK(f.strict) {
		return exitCode(exitError)
	}
	return nil
}

// verdict is the last line. A file that is valid must not be mistaken for one that can be run here.
func verdict(r config.Report, strict bool) string {
	line := fmt.Sprintf("valid for %v", r.Nodes)
	if !r.OK(strict) {
		line = "not " + line
	}
	if bad := r.Failing(strict); len(bad) > 0 && len(bad) < len(r.Nodes) {
		line = fmt.Sprintf("not valid for %v of %v", bad, r.Nodes)
	}
	line += fmt.Sprintf(": %s, %s", count(r.Count(config.Error), "error"), count(r.Count(config.Warning), "warning"))
	if n := r.Lacking(); n > 0 {
		fate := "errors"
		if n == 1 {
			fate = "an error"
		}
		line += fmt.Sprintf("; %d about this host, which --here makes %s", n, fate)
	}
	return line
}

// count is a number of things in words.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
