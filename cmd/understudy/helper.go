package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/door"
)

// firstPassed is the first descriptor that a service manager passes (sd_listen_fds(3)).
const firstPassed = 3

// helperCommand answers one request of a daemon that is not root.
func helperCommand() *cobra.Command {
	var f, unused hostFlags
	var daemonUser, memory string
	cmd := &cobra.Command{
		Use:   "helper",
		Short: "Run one hook or check for a daemon that is not root; a service manager starts it",
		Long: "Runs one hook, as root or its user, or one check, as its user or nobody, for a daemon that is not root. A service manager\n" +
			"listens for it and starts one for each connection, which is its standard input, or what LISTEN_FDS says:\n" +
			"understudy-helper.socket, with Accept=yes.\n\n" +
			"A request carries the name of a hook or check and the transition, never a command. The helper reads the configuration\n" +
			"itself, by its own --config and --node, which must be the daemon's, and in its own environment; other options of run it\n" +
			"takes and ignores. It refuses everybody but root and the daemon's user, names that it does not know, and files, programs\n" +
			"and directories on their way that anybody but root can write. Of what runs as root a script among the arguments, by its\n" +
			"absolute path, is judged as the program is: a file that can be executed, or any that is given to an interpreter. What it\n" +
			"runs ends when the connection does. Each refusal is a line in the log.\n\n" +
			"The daemon says when it goes by what the files say now. An instance or a group that they name no longer gets its stop hooks\n" +
			"for five minutes after that as the files had them before; nothing else of them is run.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return help(cmd, &f, daemonUser, memory) },
	}
	f.addConfig(cmd)
	f.addNode(cmd)
	cmd.Flags().StringVar(&daemonUser, "daemon-user", "understudy", "`user` that the daemon runs as, by name or number")
	cmd.Flags().StringVar(&memory, "memory", defaultMemory, "`directory`, root's alone, for the hooks of what a reload removes")
	completeFlag(cmd, "memory", completeDirs)
	// The rest of the daemon's options, so that one line of a file can hold those of both units.
	unused.addDirs(cmd)
	cmd.Flags().Bool("shadow", false, "")
	cmd.Flags().String("helper", "", "")
	for _, name := range []string{"runtime-dir", "state-dir", "shadow", "helper"} {
		cmd.Flags().Lookup(name).Hidden = true
	}
	return cmd
}

// help serves the connection that it was started for.
func help(cmd *cobra.Command, f *hostFlags, daemonUser, memory string) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	conn, err := passedConn()
	if err != nil {
		return fmt.Errorf("helper: %w", err)
	}
	return door.Helper{
		Paths: f.config, Node: f.node, DaemonUser: daemonUser, Memory: memory,
		Log: func(c config.Log) hclog.Logger { return newLog(cmd.ErrOrStderr(), c).Named("helper") },
	}.Serve(ctx, conn)
}

// errNoConn is what a person sees who starts the helper by hand.
var errNoConn = errors.New("standard input is no connection to a daemon: it is started by understudy-helper.socket, for each connection")

// passedConn is the connection that the service manager passed. No child inherits it.
func passedConn() (*net.UnixConn, error) {
	file := os.Stdin
	if os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		if n := os.Getenv("LISTEN_FDS"); n != "1" {
			return nil, fmt.Errorf("LISTEN_FDS is %q: it takes one connection", n)
		}
		file = os.NewFile(firstPassed, "connection")
		defer func() { _ = file.Close() }()
	}
	if listens, err := unix.GetsockoptInt(int(file.Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && listens != 0 {
		return nil, errors.New("it was passed a socket that listens, not a connection: the socket unit needs Accept=yes")
	}
	c, err := net.FileConn(file) // a copy of its own
	if err != nil {
		return nil, errNoConn
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errNoConn, c.Close())
	}
	return conn, nil
}
