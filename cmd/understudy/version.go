package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is set by the build of a package: -ldflags "-X main.release=1.2.3".
var release string

// version is the release, else what the Go toolchain knows of the source.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true" && revision != "":
			revision += "+changes"
		}
	}
	if revision != "" {
		return "devel-" + revision
	}
	return "devel"
}

// versionCommand prints what is running.
func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionLine())
			return err
		},
	}
}

// versionLine is what is running in one line.
func versionLine() string {
	return fmt.Sprintf("understudy %s %s %s/%s", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
