package checks

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// procfs is a made-up /proc.
type procfs struct {
	t    *testing.T
	root string
}

func newProcfs(t *testing.T) procfs { return procfs{t: t, root: t.TempDir()} }

func (p procfs) write(pid int, file, text string) {
	p.t.Helper()
	dir := filepath.Join(p.root, strconv.Itoa(pid))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// The pids are above what Linux gives out, so that no signal can find them either.
func (p procfs) process(pid int, comm, state string, parent, start int, cmdline ...string) {
	p.write(pid, "stat", fmt.Sprintf("%d (%s) %s %d 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0", pid, comm, state, parent, start))
	p.write(pid, "status", fmt.Sprintf("Name:\t%s\nTgid:\t%d\nPid:\t%d\n", comm, pid, pid))
	p.write(pid, "cmdline", strings.Join(cmdline, "\x00")+"\x00")
}

func (p procfs) end(pid int) { _ = os.RemoveAll(filepath.Join(p.root, strconv.Itoa(pid))) }

const base = 5_000_000

func TestProcessByName(t *testing.T) {
	tests := []struct {
		name, program string
		make          func(procfs)
		want          string // the word, or the reason
	}{
		{name: "nobody", program: "nginx", make: func(procfs) {}, want: "no process named nginx runs"},
		{name: "the master among its workers", program: "nginx", want: "pid 5000005 runs", make: func(p procfs) {
			p.process(base+4, "nginx", "S", base+5, 90, "nginx: worker process")
			p.process(base+5, "nginx", "S", 1, 100, "nginx: master process /usr/sbin/nginx")
			p.process(base+6, "nginx", "S", base+5, 101, "nginx: cache manager process")
		}},
		{name: "workers without their master", program: "nginx",
			want: "no master process of nginx runs, only workers that it left behind: nginx (pid 5000006), nginx (pid 5000007)", make: func(p procfs) {
				p.process(base+6, "nginx", "S", 1, 101, "nginx: worker process")
				p.process(base+7, "nginx", "S", 1, 101, "nginx: worker process is shutting down")
			}},
		{name: "a zombie master", program: "nginx", want: "no process named nginx runs", make: func(p procfs) {
			p.process(base+5, "nginx", "Z", 1, 100)
		}},
		{name: "a master started by the old one", program: "nginx", want: "pid 5000009 runs", make: func(p procfs) {
			p.process(base+5, "nginx", "Z", 1, 100)
			p.process(base+8, "nginx", "S", base+9, 201, "nginx: worker process")
			p.process(base+9, "nginx", "S", base+5, 200, "nginx: master process /usr/sbin/nginx")
		}},
		{name: "a program without titles", program: "haproxy", want: "pid 5000005 runs", make: func(p procfs) {
			p.process(base+5, "haproxy", "S", 1, 100, "/usr/sbin/haproxy", "-Ws")
			p.process(base+6, "haproxy", "S", base+5, 100, "/usr/sbin/haproxy", "-Ws")
		}},
		{name: "a title that is no worker's", program: "sshd", want: "pid 5000005 runs", make: func(p procfs) {
			p.process(base+5, "sshd", "S", 1, 100, "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups")
		}},
		{name: "a long name", program: "a-very-long-program-name", want: "pid 5000005 runs", make: func(p procfs) {
			p.process(base+5, "a-very-long-pro", "S", 1, 100, "x")
		}},
		{name: "a part of a name is not it", program: "nginx", want: "no process named nginx runs", make: func(p procfs) {
			p.process(base+5, "nginx-exporter", "S", 1, 100, "x")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			proc := newProcfs(t)
			tt.make(proc)
			b := &byName{name: tt.program, root: proc.root}
			for range 2 { // the second run takes the short way
				_, got, err := b.locate()
				if err != nil {
					got = err.Error()
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestProcessByCommandLine(t *testing.T) {
	proc := newProcfs(t)
	proc.process(base+1, "kworker", "I", 2, 1)
	proc.process(base+5, "java", "S", 1, 100, "/usr/bin/java", "-jar", "/srv/app.jar")
	b := &byCommandLine{re: regexp.MustCompile(`^\S*java -jar /srv/app\.jar$`), root: proc.root}
	if p, word, err := b.locate(); err != nil || p.pid != base+5 || word != "pid 5000005 runs" {
		t.Errorf("%v, %q, %v", p, word, err)
	}
	proc.process(base+5, "bash", "S", 1, 300, "bash") // its pid was given away
	want := `no process with a command line that matches "^\\S*java -jar /srv/app\\.jar$" runs`
	if _, _, err := b.locate(); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	b.re = regexp.MustCompile(`^$`)
	if _, _, err := b.locate(); err == nil {
		t.Error("a kernel thread has a command line")
	}
}

func TestPIDFileStepByStep(t *testing.T) {
	proc := newProcfs(t)
	path := filepath.Join(t.TempDir(), "nginx.pid")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := &pidFile{path: path, root: proc.root}
	steps := []struct {
		name string
		do   func()
		want string // FILE stands for the pid file
	}{
		{"no pid file", func() {}, "pid file FILE does not exist"},
		{"a stale one", func() { write(path, "5000005\n") }, "pid 5000005 of FILE: no such process"},
		{"it starts", func() { proc.process(base+5, "nginx", "S", 1, 100) }, "pid 5000005 runs"},
		{"it is a zombie", func() { proc.process(base+5, "nginx", "Z", 1, 100) }, "pid 5000005 of FILE: it is a zombie: no such process"},
		{"its pid is given away", func() { proc.process(base+5, "bash", "S", 1, 300) }, "pid 5000005 of FILE is now another process, bash: the file is stale"},
		{"and stays so", func() {}, "pid 5000005 of FILE is now another process, bash: the file is stale"},
		{"a thread has the number", func() {
			write(path, "5000009\n")
			proc.process(base+9, "java", "S", 1, 50)
			proc.write(base+9, "status", "Name:\tjava\nTgid:\t5000001\n")
		}, "pid 5000009 of FILE is a thread of another process: the file is stale"},
		{"a new start", func() { write(path, "5000006\n"); proc.process(base+6, "nginx", "S", 1, 400) }, "pid 5000006 runs"},
		{"USR2: the file is renamed", func() { _ = os.Rename(path, path+oldSuffix) }, "pid 5000006 runs, of FILE.oldbin: a new binary is taking over"},
		{"the new file is empty", func() { write(path, "") }, "pid 5000006 runs, of FILE.oldbin: a new binary is taking over"},
		{"the new master is there", func() { write(path, "5000007\n"); proc.process(base+7, "nginx", "S", base+6, 500) }, "pid 5000007 runs"},
		{"the new one dies", func() { proc.end(base + 7) }, "pid 5000006 runs, of FILE.oldbin: a new binary is taking over"},
		{"the old one takes its file back", func() { _ = os.Rename(path+oldSuffix, path) }, "pid 5000006 runs"},
		{"a leftover .oldbin of a pid given away", func() {
			_ = os.Rename(path, path+oldSuffix)
			proc.process(base+6, "bash", "S", 1, 600)
		}, "pid file FILE does not exist"},
		{"garbage", func() { write(path, "what?") }, `pid file FILE: "what?" is not a process id`},
		{"a directory", func() { _ = os.Remove(path); _ = os.Mkdir(path, 0o700) }, "pid file FILE is not a regular file"},
	}
	for _, s := range steps {
		s.do()
		_, got, err := f.locate()
		if err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(s.want, strings.ReplaceAll(got, path, "FILE")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, diff)
		}
	}
}

func TestImpossibleProcessOptionsAreNamed(t *testing.T) {
	tests := []struct {
		options ProcessOptions
		want    []OptionError
	}{
		{ProcessOptions{}, []OptionError{{"", "needs exactly one of pid_file, name and cmdline; 0 are set"}}},
		{ProcessOptions{PIDFile: "/run/x", Name: "x"}, []OptionError{{"", "needs exactly one of pid_file, name and cmdline; 2 are set"}}},
		{ProcessOptions{PIDFile: "run/x"}, []OptionError{{"pid_file", `"run/x" is not an absolute path`}}},
		{ProcessOptions{Name: "/usr/sbin/nginx"}, []OptionError{{"name", `"/usr/sbin/nginx" is not a program's name, such as "nginx"; for paths and arguments use cmdline`}}},
		{ProcessOptions{Cmdline: "("}, []OptionError{{"cmdline", "\"(\" is not a regular expression (RE2): missing closing ): `(`"}}},
		{ProcessOptions{Name: "nginx"}, nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, tt.options.Validate()); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.options, diff)
		}
	}
}

// startMonitor runs a Monitor until the test ends, or until the returned function is called.
func startMonitor(t *testing.T, o Options, timing Timing) (results <-chan Result, stop func()) {
	t.Helper()
	c, err := o.New()
	if err != nil {
		t.Fatal(err)
	}
	ch := make(chan Result, 10000)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		NewMonitor("nginx", c, timing, func(r Result) { ch <- r }).Run(ctx)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return ch, stop
}

// await takes results until one fits.
func await(t *testing.T, results <-chan Result, what string, fits func(Result) bool) Result {
	t.Helper()
	var last Result
	for late := time.After(ample); ; {
		select {
		case last = <-results:
			if fits(last) {
				return last
			}
		case <-late:
			t.Fatalf("%s: not seen; the last result was %+v", what, last)
		}
	}
}

// rarely polls so seldom that only an event explains a result.
var rarely = Timing{Interval: time.Hour, Timeout: 10 * time.Second, PendingInterval: 10 * time.Millisecond, Rise: 2, Fall: 2}

func TestTheKernelTellsOfAnExitAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sleep.pid")
	best := time.Hour
	for range 5 { // a busy machine may delay one, not all
		cmd := exec.Command("sleep", "600")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() }) // where the test fails before
		pid := cmd.Process.Pid
		if err := os.WriteFile(path, []byte(strconv.Itoa(pid)), 0o600); err != nil {
			t.Fatal(err)
		}
		results, stop := startMonitor(t, &ProcessOptions{PIDFile: path}, rarely)
		// The watcher may not be in place yet: then it asks for a look when it is.
		await(t, results, "healthy", func(r Result) bool { return r.Healthy && r.Reason == fmt.Sprintf("pid %d runs", pid) })
		killed := time.Now()
		_ = cmd.Process.Kill()
		r := await(t, results, "unhealthy", func(r Result) bool { return r.Changed && !r.Healthy })
		best = min(best, r.At.Sub(killed))
		_ = cmd.Wait()
		if want := fmt.Sprintf("process sleep (pid %d) exited; pid %d of %s: ", pid, pid, path); !strings.HasPrefix(r.Reason, want) {
			t.Errorf("reason %q, want %s...", r.Reason, want)
		}
		stop()
	}
	if best > 100*time.Millisecond {
		t.Errorf("the verdict came %s after the exit at best", best)
	}
}

func TestAPIDFileIsNoticedWhenItComes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, "self.pid")
	results, _ := startMonitor(t, &ProcessOptions{PIDFile: path}, rarely)
	await(t, results, "no file", func(r Result) bool { return !r.Healthy })
	// The directory does not exist at first either.
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, results, "healthy", func(r Result) bool { return r.Healthy })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	await(t, results, "unhealthy", func(r Result) bool { return !r.Healthy })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, results, "healthy in a directory made anew", func(r Result) bool { return r.Healthy })
}
