package mechanisms

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestNginxStop tells what a unit around nginx's own does, in words of a plain script: no connection is refused when nginx is
// stopped and started.
func TestNginxStop(t *testing.T) {
	t.Parallel()
	c := pair(t, instanceOf(`"10.0.0.100", "fd00::100"`, "")+page+
		"check \"process\" \"nginx\" {\n  pid_file = \"LAB/${hostname}/nginx/nginx.pid\"\n}\n", web4, web6)
	lb1 := c.Get("lb1")
	steer := fmt.Sprintf("%%s --for nginx-stop --runtime-dir %s --state-dir %s", lb1.Run, lb1.StateDir())
	script := strings.Join([]string{
		"set -e",
		program + " " + fmt.Sprintf(steer, "drain"),
		"pid=$(cat " + lb1.Nginx.PIDFile() + ")",
		strings.Join(lb1.Nginx.Command("-s", "quit"), " "),
		"for n in $(seq 500); do [ -d /proc/$pid ] || break; sleep 0.01; done",
		"sleep 0.5",
		strings.Join(lb1.Nginx.Command(), " "),
		program + " " + fmt.Sprintf(steer, "undrain"),
	}, "\n")
	from := pairtest.Step(t, func() error {
		out, err := lb1.Exec(t.Context(), "sh", "-c", script)
		t.Logf("the script says %q", out)
		return err
	})
	c.Settled(t, "lb1")
	now := time.Now()
	for _, vip := range c.VIPs {
		history := c.Owners.History()
		if moves := history.Moves(vip, from, now); moves != 2 {
			t.Errorf("%v moved %d times, want there and back", vip, moves)
		}
		saw := c.Clients[vip].Between(from, now)
		for _, f := range saw.Failed() {
			if strings.Contains(f.Err.Error(), "refused") {
				t.Errorf("%v: refused at %s\n%v", vip, pairtest.Stamp(f.Start), saw)
				break
			}
		}
		c.Unharmed(t, vip, from, now, 0)
		if saw.Servers()["lb2"] == 0 {
			t.Errorf("%v: lb2 did not serve: %v", vip, saw)
		}
	}
	if i := status(t, lb1); i.Priority != 150 {
		t.Errorf("the priority of lb1 is %d", i.Priority)
	}
}

// TestDrainsAreKept tells which drains outlive a daemon, and which a reboot.
func TestDrainsAreKept(t *testing.T) {
	t.Parallel()
	c := pair(t, instance(`advertise_interval = "200ms"`)+page)
	lb1 := c.Get("lb1")
	restart := func(t *testing.T, between func()) {
		t.Helper()
		lb1.Stop(t)
		between()
		lb1.Start(t)
		await(t, lb1, moveBound, func(i node.InstanceStatus) bool { return i.State != node.Init })
	}
	nothing := func() {}
	reboot := func() { empty(t, lb1.Run) }
	stays := func(t *testing.T, who string) {
		t.Helper()
		i := await(t, lb1, moveBound, func(i node.InstanceStatus) bool { return i.State == node.Backup && i.Priority == 1 })
		if got := fmt.Sprint(i.Unhealthy); !strings.Contains(got, "drained by "+who) {
			t.Errorf("lb1 is unhealthy because of %s", got)
		}
		from := time.Now()
		c.Rests(t, from, from.Add(1500*time.Millisecond)) // twice a Master_Down_Interval
		lb1.Does(t, 4, "status", "web")
		c.Only(t, "lb2", time.Millisecond)
	}

	lb1.Does(t, 0, "drain")
	c.Only(t, "lb2", moveBound)
	t.Run("the administrator's outlives a reboot", func(t *testing.T) {
		restart(t, reboot)
		stays(t, "admin")
	})
	t.Run("each undrain lifts its own", func(t *testing.T) {
		lb1.Does(t, 0, "drain", "--for", "nginx-stop")
		lb1.Does(t, 0, "undrain")
		stays(t, "nginx-stop")
	})
	t.Run("nginx's own stop outlives a restart", func(t *testing.T) {
		restart(t, nothing)
		stays(t, "nginx-stop")
	})
	t.Run("nginx's own stop does not outlive a reboot", func(t *testing.T) {
		from := time.Now()
		restart(t, reboot)
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1")
	})
	t.Run("without a daemon the saved set is changed", func(t *testing.T) {
		lb1.Stop(t)
		c.Only(t, "lb2", moveBound)
		if out := lb1.Does(t, 0, "drain"); !strings.Contains(out, "not running") {
			t.Errorf("drain says %q", out)
		}
		lb1.Start(t)
		stays(t, "admin")
		lb1.Stop(t)
		lb1.Does(t, 0, "undrain")
		from := pairtest.Step(t, func() error { lb1.Start(t); return nil })
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1")
	})
}

// TestDrainThatIsNotSaved tells of a drain that is done, although it will not outlive the daemon, and of one that cannot be read.
func TestDrainThatIsNotSaved(t *testing.T) {
	t.Parallel()
	c := pair(t, instance(`advertise_interval = "200ms"`)+page)
	lb1 := c.Get("lb1")
	replace := func(dir bool) {
		t.Helper()
		err := os.RemoveAll(lb1.StateDir())
		if dir {
			err = errors.Join(err, os.Mkdir(lb1.StateDir(), 0o755))
		} else {
			err = errors.Join(err, os.WriteFile(lb1.StateDir(), nil, 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("it is done, and said", func(t *testing.T) {
		replace(false)
		from := time.Now()
		if out := lb1.Does(t, 5, "drain"); !strings.Contains(out, lb1.StateDir()) {
			t.Errorf("drain does not say what could not be written: %q", out)
		}
		c.Only(t, "lb2", moveBound)
		c.Planned(t, from, "lb2")
		replace(true)
		from = pairtest.Step(t, func() error { lb1.Does(t, 0, "undrain"); return nil })
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1")
	})
	t.Run("one that cannot be read means drained", func(t *testing.T) {
		lb1.Stop(t)
		c.Only(t, "lb2", moveBound)
		saved := filepath.Join(lb1.StateDir(), "drains.json")
		if err := os.WriteFile(saved, []byte("half a fi"), 0o644); err != nil {
			t.Fatal(err)
		}
		from := pairtest.Step(t, func() error { lb1.Start(t); return nil })
		i := await(t, lb1, moveBound, func(i node.InstanceStatus) bool { return i.State == node.Backup && i.Priority == 1 })
		if got := fmt.Sprint(i.Unhealthy); !strings.Contains(got, saved) {
			t.Errorf("lb1 is unhealthy because of %s, want the file's name", got)
		}
		c.Rests(t, from, time.Now().Add(1500*time.Millisecond)) // twice a Master_Down_Interval
	})
}

// empty removes what is in a directory: what a reboot leaves of /run.
func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}
