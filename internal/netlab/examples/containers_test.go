package examples

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// TestContainers builds the image without a builder and runs the pod without a kubelet: in namespaces, with the mounts, the
// capabilities and the read-only root of the manifest, on hosts whose nginx runs outside.
func TestContainers(t *testing.T) {
	t.Parallel()
	n := pairNetwork
	n.vips = map[string]time.Duration{"192.0.2.10": every}
	l := newLab(t, n)
	l.serves(t)
	p, err := decodePod(example(t, "containers/understudy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	stages, err := parseContainerfile(example(t, "containers/Containerfile"))
	if err != nil || len(stages) != 2 {
		t.Fatalf("%d stages, %v", len(stages), err)
	}
	built := filepath.Join(l.memory, "build")
	if err := os.Mkdir(built, 0o755); err != nil {
		t.Fatal(err)
	}
	stages[0].build(t, labtest.Host(t, l.Lab, "build"), built)
	running := map[string]*service{}
	image := func(m *machine) string { return filepath.Join(l.memory, "image-"+m.Name()) }
	start := func(m *machine) {
		running[m.Name()] = p.container(t, stages[1], image(m), m).start(t, m.Host)
		m.Daemon = running[m.Name()].Proc
	}
	l.all(func(m *machine) {
		stages[1].assemble(t, built, image(m))
		m.follow(t, "containers/README.md", commands(t, "containers/README.md", "install"))
		start(m)
	})
	l.Settled(t, "lb1")
	holdsOnly(t, running["lb1"].pid, "NET_ADMIN", "NET_RAW")

	t.Run("the pod is removed", func(t *testing.T) {
		from := pairtest.Step(t, func() error { running["lb1"].stop(t); return nil })
		l.Only(t, "lb2", 5*time.Second)
		l.Planned(t, from, "lb2")
		start(l.machines["lb1"])
		l.Settled(t, "lb2")
	})
	t.Run("the container is killed", func(t *testing.T) {
		from := pairtest.Step(t, func() error { running["lb2"].signal(t, syscall.SIGKILL); return nil })
		l.Only(t, "lb1", 10*time.Second)
		l.Overlap(t, l.VIPs[0], from, 0) // its lease has ended by then
		start(l.machines["lb2"])
		l.Settled(t, "lb1")
	})
	t.Run("nginx dies outside", func(t *testing.T) {
		from := pairtest.Step(t, func() error { l.machines["lb1"].killNginx(t); return nil })
		l.Only(t, "lb2", 10*time.Second)
		l.Moved(t, l.VIPs[0], from, "lb2")
		l.Outage(t, l.VIPs[0], from, time.Second+noise, "lb2") // two checks, and the pause between them
	})
	t.Run("from the host", func(t *testing.T) {
		l.machines["lb2"].sh(t, "understudy status web")
	})
}

// container is how a kubelet runs the pod on a machine.
func (p pod) container(t *testing.T, image stage, root string, m *machine) *container {
	t.Helper()
	if len(p.Spec.Containers) != 1 || !p.Spec.HostNetwork {
		t.Fatal("want a pod of one container in the host's network")
	}
	pc := p.Spec.Containers[0]
	sc := pc.SecurityContext
	if sc.RunAsUser == nil || *sc.RunAsUser != 0 || sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation || !slices.Equal(sc.Capabilities.Drop, []string{"ALL"}) {
		t.Fatalf("the security context is %+v, want root with nothing but what is added", sc)
	}
	if diff := cmp.Diff([]string{"NET_ADMIN", "NET_RAW"}, sc.Capabilities.Add); diff != "" {
		t.Errorf("capabilities (-want +got)\n%s", diff)
	}
	entry, err := words(image.the("ENTRYPOINT"))
	if err != nil {
		t.Fatal(err)
	}
	c := &container{
		Root: root, ReadOnly: sc.ReadOnlyRootFilesystem, Host: m.Name(), Dir: "/", Capabilities: sc.Capabilities.Add,
		Argv: append(entry, pc.Args...), Env: []string{path},
	}
	for _, mount := range pc.VolumeMounts {
		for _, v := range p.Spec.Volumes {
			if v.Name != mount.Name {
				continue
			}
			from := filepath.Join(m.root, v.HostPath.Path)
			if v.HostPath.Type == "DirectoryOrCreate" {
				if err := os.MkdirAll(from, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			c.Mounts = append(c.Mounts, containerMount{from, mount.MountPath, mount.ReadOnly})
		}
	}
	return c
}

// TestContainerByHand holds the README's command for hosts without Kubernetes to what the manifest asks for.
func TestContainerByHand(t *testing.T) {
	p, err := decodePod(example(t, "containers/understudy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c := p.Spec.Containers[0]
	want := []string{
		"--network host", "--read-only", "--cap-drop " + c.SecurityContext.Capabilities.Drop[0], "--security-opt no-new-privileges", c.Image + "\n",
		fmt.Sprint("--stop-timeout ", p.Spec.TerminationGracePeriodSeconds),
	}
	for _, name := range c.SecurityContext.Capabilities.Add {
		want = append(want, "--cap-add "+name)
	}
	for n, m := range c.VolumeMounts {
		volume := "-v " + p.Spec.Volumes[n].HostPath.Path + ":" + m.MountPath
		if m.ReadOnly {
			volume += ":ro"
		}
		want = append(want, volume)
	}
	_, run, _ := strings.Cut(example(t, "containers/README.md"), "docker run ")
	for _, w := range want {
		if !strings.Contains(run, w) {
			t.Errorf("the command has no %q", w)
		}
	}
}
