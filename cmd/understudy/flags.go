package main

import (
	"github.com/spf13/cobra"
)

// The directories of an installed daemon.
const (
	defaultConfig  = "/etc/understudy"
	defaultRuntime = "/run/understudy"
	defaultState   = "/var/lib/understudy"
	defaultHelper  = "/run/understudy-helper.sock"
	defaultMemory  = "/run/understudy-helper"
)

// hostFlags say which daemon of a host is meant: several can share a file system.
type hostFlags struct {
	config     []string
	node       string
	runtimeDir string
	stateDir   string
}

// addConfig adds the flags that find the configuration.
func (f *hostFlags) addConfig(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.config, "config", []string{defaultConfig}, "configuration `path`, a file or a directory; repeatable")
	completeFlag(cmd, "config", completeFiles)
}

// addNode adds the flag that names the node.
func (f *hostFlags) addNode(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.node, "node", "", "this node's `name` (default: the host name up to the first dot)")
}

// addRuntimeDir adds the flag that finds the daemon. The other directory is accepted too, so that one line fits all commands.
func (f *hostFlags) addRuntimeDir(cmd *cobra.Command) {
	f.addDirs(cmd)
	if err := cmd.Flags().MarkHidden("state-dir"); err != nil {
		panic("understudy: " + err.Error())
	}
}

// addDirs adds the flags that tell daemons on one file system apart.
func (f *hostFlags) addDirs(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.runtimeDir, "runtime-dir", defaultRuntime, "`directory` of the control socket and the list of held addresses")
	cmd.Flags().StringVar(&f.stateDir, "state-dir", defaultState, "`directory` of what outlives a reboot")
	completeFlag(cmd, "runtime-dir", completeDirs)
	completeFlag(cmd, "state-dir", completeDirs)
}
