package command

import (
	"os"
	"slices"
	"strings"
)

// defaultPath is the PATH of a command whose environment has none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// withheld are the variables that are meant for the daemon alone: what changes how a program is loaded, and the
// service manager's channels to its main process.
var withheld = []string{"LD_PRELOAD", "LD_LIBRARY_PATH", "NOTIFY_SOCKET"}

// withheldPrefixes are whole families of such variables.
var withheldPrefixes = []string{"WATCHDOG_", "LISTEN_"}

// Environment is the daemon's environment as its commands may see it: without LD_PRELOAD, LD_LIBRARY_PATH,
// NOTIFY_SOCKET, WATCHDOG_* and LISTEN_*, and with a PATH if it has none.
func Environment() []string {
	return cleaned(os.Environ())
}

func cleaned(environ []string) []string {
	env := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(withheld, name) ||
			slices.ContainsFunc(withheldPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	})
	if value, ok := lookUp(env, "PATH"); !ok || value == "" {
		env = append(env, "PATH="+defaultPath)
	}
	return env
}

// searchPath is where a program is looked up: the PATH that it will itself see.
func searchPath(env []string) string {
	if path, ok := lookUp(env, "PATH"); ok && path != "" {
		return path
	}
	return defaultPath
}

// lookUp gives a variable's value; of several the last one counts, as in os/exec.
func lookUp(env []string, name string) (value string, ok bool) {
	for _, entry := range env {
		if n, v, found := strings.Cut(entry, "="); found && n == name {
			value, ok = v, true
		}
	}
	return value, ok
}
