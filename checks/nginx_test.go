package checks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nginx is a real one on a unix socket in a directory of its own.
type nginx struct {
	t    *testing.T
	path string // of the pid file
}

func startNginx(t *testing.T) nginx {
	t.Helper()
	binary, err := exec.LookPath("nginx")
	if err != nil {
		binary = "/usr/sbin/nginx"
	}
	if _, err := os.Stat(binary); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("nginx is not installed")
		}
		t.Skip("nginx is not installed")
	}
	dir, err := os.MkdirTemp("", "understudy-nginx-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n := nginx{t: t, path: filepath.Join(dir, "nginx.pid")}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	conf := filepath.Join(dir, "nginx.conf")
	text := strings.ReplaceAll(user+`worker_processes 1; pid DIR/nginx.pid; error_log DIR/error.log;
events { worker_connections 16; }
http { access_log off; client_body_temp_path DIR/a; proxy_temp_path DIR/b; fastcgi_temp_path DIR/c; uwsgi_temp_path DIR/d; scgi_temp_path DIR/e;
server { listen unix:DIR/sock; return 200; } }
`, "DIR", dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(binary, "-c", conf, "-p", dir, "-e", filepath.Join(dir, "error.log")).CombinedOutput(); err != nil {
		t.Fatalf("start nginx: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		for _, file := range []string{n.path, n.path + oldSuffix} {
			if pid := n.pid(file); pid > 0 {
				_ = syscall.Kill(pid, syscall.SIGTERM)
				n.wait("end", func() bool { return syscall.Kill(pid, 0) != nil || !running(pid) })
			}
		}
	})
	n.wait("a pid file", func() bool { return n.pid(n.path) > 0 })
	return n
}

func running(pid int) bool {
	_, err := readProcess("/proc", pid)
	return err == nil
}

// pid is what a pid file holds, 0 if nothing.
func (n nginx) pid(file string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

func (n nginx) wait(what string, done func() bool) {
	n.t.Helper()
	for late := time.Now().Add(ample); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(late) {
			n.t.Fatalf("nginx: no %s within %s", what, ample)
		}
	}
}

func (n nginx) signal(pid int, s syscall.Signal) {
	n.t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		n.t.Fatalf("signal %d to nginx: %v", s, err)
	}
}

// The harshest settings: one failure is a verdict, and the check runs all the time.
var harsh = Timing{Interval: 10 * time.Millisecond, Timeout: 10 * time.Millisecond, PendingInterval: 10 * time.Millisecond, Rise: 1, Fall: 1}

func TestNginxUpgradeIsNoFailure(t *testing.T) {
	for _, way := range []string{"the new one stays", "the new one is sent away again"} {
		t.Run(way, func(t *testing.T) {
			n := startNginx(t)
			timing := harsh
			timing.Timeout = 10 * time.Second // a noisy machine is not what is tested
			results, _ := startMonitor(t, &ProcessOptions{PIDFile: n.path}, timing)
			await(t, results, "healthy", func(r Result) bool { return r.Healthy })

			first := n.pid(n.path)
			for range 3 {
				before := n.pid(n.path)
				var asked time.Time
				n.wait("new master", func() bool {
					if time.Since(asked) > 100*time.Millisecond { // one that is about to end the last upgrade ignores it
						n.signal(before, syscall.SIGUSR2)
						asked = time.Now()
					}
					pid := n.pid(n.path)
					return pid > 0 && pid != before && n.pid(n.path+oldSuffix) == before
				})
				leaves, stays := before, n.pid(n.path)
				if way == "the new one is sent away again" {
					leaves, stays = stays, leaves
				}
				n.signal(leaves, syscall.SIGQUIT)
				n.wait("end of the other master", func() bool {
					return !running(leaves) && n.pid(n.path) == stays && n.pid(n.path+oldSuffix) == 0
				})
			}
			last := n.pid(n.path)
			if moved := last != first; moved != (way == "the new one stays") {
				t.Errorf("pid %d at first, %d at last", first, last)
			}
			await(t, results, "the last master", func(r Result) bool {
				if !r.Passed || !r.Healthy {
					t.Fatalf("a failure during the upgrade: %+v", r)
				}
				return r.Reason == fmt.Sprintf("pid %d runs", last)
			})
		})
	}
}

func TestNginxWorkersDoNotStandInForAKilledMaster(t *testing.T) {
	n := startNginx(t)
	master := n.pid(n.path)
	var workers []process
	n.wait("worker", func() bool {
		all, err := allProcesses("/proc")
		if err != nil {
			t.Fatal(err)
		}
		workers = nil
		for _, p := range all {
			if p.parent == master && strings.HasPrefix(commandLine("/proc", p.pid), "nginx: worker") {
				workers = append(workers, p)
			}
		}
		return len(workers) > 0
	})
	defer func() {
		for _, w := range workers {
			_ = syscall.Kill(w.pid, syscall.SIGKILL)
		}
	}()
	b := &byName{name: "nginx", root: "/proc"}
	named := append([]process{{pid: master, comm: "nginx"}}, workers...)
	if b.subordinate(named[0], named) || !b.subordinate(workers[0], named) {
		t.Error("master and worker are not told apart")
	}
	results, _ := startMonitor(t, &ProcessOptions{PIDFile: n.path}, rarely)
	for range 2 {
		await(t, results, "healthy", func(r Result) bool { return r.Healthy })
	}
	n.signal(master, syscall.SIGKILL)
	r := await(t, results, "unhealthy", func(r Result) bool { return r.Changed && !r.Healthy })
	if want := fmt.Sprintf("process nginx (pid %d) exited; ", master); !strings.HasPrefix(r.Reason, want) {
		t.Errorf("reason %q, want %s...", r.Reason, want)
	}
	if !b.subordinate(workers[0], workers) {
		t.Error("an orphaned worker counts as a master")
	}
}
