package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/command"
	"github.com/understudy-ha/understudy/internal/command/commandtest"
)

// realNginx is an nginx of the test's own: prefix, configuration, pid file and port.
type realNginx struct {
	dir, address string
	cmd          *exec.Cmd
}

// nginxIn prepares an nginx that does not run yet.
func nginxIn(t *testing.T) *realNginx {
	t.Helper()
	if _, err := exec.LookPath("nginx"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("needs nginx; apt-get install nginx-light")
		}
		t.Skip("needs nginx; apt-get install nginx-light")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := &realNginx{dir: t.TempDir(), address: l.Addr().String()}
	r.configure(t, `return 200 "one";`)
	return r
}

func (r *realNginx) config() string { return filepath.Join(r.dir, "lb.conf") }

// configure writes a configuration whose only page is made by the directive.
func (r *realNginx) configure(t *testing.T, directive string) {
	t.Helper()
	text := fmt.Sprintf(`daemon off; worker_processes 1; pid nginx.pid; error_log error.log;
events {}
http {
	access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	server { listen %s; location / { %s } }
}
`, r.address, directive)
	if err := os.WriteFile(r.config(), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (r *realNginx) start(t *testing.T) {
	t.Helper()
	r.cmd = exec.Command("nginx", "-p", r.dir, "-c", r.config())
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop(t))
	eventually(t, "nginx serves", func() bool { return r.page() == "one" })
}

// stop asks the master to end, so that it takes its workers along, and waits.
func (r *realNginx) stop(t *testing.T) func() {
	return func() {
		if r.cmd.ProcessState != nil {
			return
		}
		if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("end nginx: %v", err)
		}
		_ = r.cmd.Wait()
	}
}

// page fetches the page over a connection of its own; "" if there is none.
func (r *realNginx) page() string {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + r.address + "/")
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return ""
	}
	return string(body)
}

// workers lists the children of the master process.
func (r *realNginx) workers(t *testing.T) []string {
	t.Helper()
	pid := strconv.Itoa(r.cmd.Process.Pid)
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(children))
}

func nginxHook(t *testing.T, o NginxOptions) Hook {
	t.Helper()
	runner, err := o.New()
	if err != nil {
		t.Fatal(err)
	}
	return Hook{Name: "reload", Kind: "nginx", PerHost: true, Settings: Settings{On: []State{Master}, Timeout: 30 * time.Second}, Runner: runner}
}

func (r *realNginx) hook(t *testing.T) Hook {
	return nginxHook(t, NginxOptions{Binary: "nginx", Config: r.config(), Prefix: r.dir})
}

func TestNginxReload(t *testing.T) {
	r := nginxIn(t)
	r.start(t)
	hook := r.hook(t)
	if err := hook.Verify(); err != nil {
		t.Fatalf("Verify: %v", err)
	}

	old := r.workers(t)
	r.configure(t, `return 200 "two";`)
	if outcome, err := hook.run(t.Context(), example); err != nil {
		t.Fatalf("reload: %v\n%s", err, outcome.Output)
	}
	eventually(t, "the new configuration is served", func() bool { return r.page() == "two" })
	eventually(t, "the old worker is replaced", func() bool {
		now := r.workers(t)
		return len(now) == 1 && !slices.Equal(now, old)
	})

	old = r.workers(t)
	r.configure(t, `retrun 200 "three";`)
	outcome, err := hook.run(t.Context(), example)
	want := fmt.Sprintf("test of nginx's configuration: exit status 1: nginx: [emerg] unknown directive \"retrun\" in %s:5; nginx was not reloaded", r.config())
	if errorText(err) != want {
		t.Errorf("error %q, want %q", errorText(err), want)
	}
	if !strings.Contains(outcome.Output, "retrun") {
		t.Errorf("output %q does not keep nginx's words", outcome.Output)
	}
	if now := r.workers(t); !slices.Equal(now, old) || r.page() != "two" {
		t.Errorf("after a broken configuration: workers %v -> %v, page %q; want no change", old, now, r.page())
	}

	r.configure(t, `return 200 "three";`)
	if _, err := hook.run(t.Context(), example); err != nil {
		t.Fatalf("reload of the mended configuration: %v", err)
	}
	eventually(t, "the mended configuration is served", func() bool { return r.page() == "three" })
}

func TestNginxThatDoesNotRun(t *testing.T) {
	r := nginxIn(t)
	pidFile := filepath.Join(r.dir, "nginx.pid")
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, content, reason string
	}{
		{"without a pid file", "", `[error] invalid PID number "" in "` + pidFile + `"`},
		{"with the pid file of a process that is gone", strconv.Itoa(gone.Process.Pid),
			fmt.Sprintf("[alert] kill(%d, 1) failed (3: No such process)", gone.Process.Pid)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.RemoveAll(pidFile); err != nil {
				t.Fatal(err)
			}
			if tt.content != "" {
				if err := os.WriteFile(pidFile, []byte(tt.content+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, err := r.hook(t).run(t.Context(), example)
			want := "nginx is not running, so there is nothing to reload: exit status 1: nginx: " + tt.reason +
				"; it reads its configuration when it is started"
			if errorText(err) != want {
				t.Errorf("error %q, want %q", errorText(err), want)
			}
		})
	}
}

// TestNginxThatMisbehaves puts a script in nginx's place: what it is called with, and what becomes of each failure.
func TestNginxThatMisbehaves(t *testing.T) {
	dir := commandtest.Dir(t)
	const onReload = `case "$*" in *-s*) `
	tests := []struct {
		name, body string
		timeout    time.Duration
		output     string
		want       string // a part of the error
	}{
		{"what it is called with, and its warnings kept", `echo "[warn] called with $*"` + "\n", 10 * time.Second,
			"[warn] called with -c lb.conf -p /opt -t -q\n[warn] called with -c lb.conf -p /opt -s reload\n", ""},
		{"the usual form of nginx's own words", `echo "nginx: [warn] w"; echo "nginx: [emerg] the cause"; echo "nginx: [emerg] a consequence"; exit 1` + "\n",
			10 * time.Second, "nginx: [warn] w\nnginx: [emerg] the cause\nnginx: [emerg] a consequence\n",
			"test of nginx's configuration: exit status 1: nginx: [emerg] the cause; nginx was not reloaded"},
		{"a missing pid file", onReload + `echo 'nginx: [error] open() "/run/nginx.pid" failed (2: No such file or directory)'; exit 1;; esac` + "\n",
			10 * time.Second, "nginx: [error] open() \"/run/nginx.pid\" failed (2: No such file or directory)\n",
			"nginx is not running, so there is nothing to reload: exit status 1"},
		{"a signal that may not be sent", onReload + `echo "nginx: [alert] kill(812, 1) failed (1: Operation not permitted)"; exit 1;; esac` + "\n",
			10 * time.Second, "nginx: [alert] kill(812, 1) failed (1: Operation not permitted)\n",
			"reload nginx: exit status 1: nginx: [alert] kill(812, 1) failed (1: Operation not permitted)"},
		{"a test that says nothing known", "echo odd; exit 7\n", 10 * time.Second, "odd\n",
			"test of nginx's configuration: exit status 7: odd; nginx was not reloaded"},
		{"a test that hangs", "sleep 300\n", 300 * time.Millisecond, "", "test of nginx's configuration: timed out after "},
		{"a reload that hangs", onReload + "sleep 300;; esac\n", 2 * time.Second, "", "reload nginx: timed out after "},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hook := nginxHook(t, NginxOptions{
				Binary: commandtest.Script(t, dir, fmt.Sprint("nginx", i), tt.body), Config: "lb.conf", Prefix: "/opt",
			})
			hook.Settings.Timeout = tt.timeout
			outcome, err := hook.run(t.Context(), example)
			if outcome.Output != tt.output || !strings.Contains(errorText(err), tt.want) || (tt.want == "") != (err == nil) {
				t.Errorf("output %q, error %q; want %q, %q", outcome.Output, errorText(err), tt.output, tt.want)
			}
			if strings.Contains(tt.want, "timed out") && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v is no timeout to errors.Is", err)
			}
		})
	}
}

func TestNginxThatIsMissing(t *testing.T) {
	hook := nginxHook(t, NginxOptions{Binary: "/nonexistent/nginx"})
	const missing = "/nonexistent/nginx: no such file or directory"
	if _, err := hook.run(t.Context(), example); errorText(err) != "test of nginx's configuration: "+missing+"; nginx was not reloaded" {
		t.Errorf("run: %v", err)
	}
	if err := hook.Verify(); errorText(err) != missing {
		t.Errorf("Verify: %v", err)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	long := strings.Repeat("é", command.MaxOutput)
	if got := tail(long + "end"); len(got) > command.MaxOutput || !strings.HasSuffix(got, "éend") || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("tail has %d bytes and ends in %q", len(got), got[max(0, len(got)-8):])
	}
	if got := tail("short"); got != "short" {
		t.Errorf("tail(short) = %q", got)
	}
}
