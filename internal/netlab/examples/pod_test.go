package examples

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// pod is what a manifest of the examples may hold, by the names of the Kubernetes API (core/v1). Any other key is a mistake.
type pod struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name      string            `yaml:"name"`
		Namespace string            `yaml:"namespace"`
		Labels    map[string]string `yaml:"labels"`
	} `yaml:"metadata"`
	Spec struct {
		HostNetwork                   bool           `yaml:"hostNetwork"`
		PriorityClassName             string         `yaml:"priorityClassName"`
		AutomountServiceAccountToken  *bool          `yaml:"automountServiceAccountToken"`
		EnableServiceLinks            *bool          `yaml:"enableServiceLinks"`
		RestartPolicy                 string         `yaml:"restartPolicy"`
		TerminationGracePeriodSeconds int            `yaml:"terminationGracePeriodSeconds"`
		Containers                    []podContainer `yaml:"containers"`
		Volumes                       []podVolume    `yaml:"volumes"`
	} `yaml:"spec"`
}

type podContainer struct {
	Name            string   `yaml:"name"`
	Image           string   `yaml:"image"`
	ImagePullPolicy string   `yaml:"imagePullPolicy"`
	Args            []string `yaml:"args"`
	SecurityContext struct {
		RunAsUser                *int  `yaml:"runAsUser"`
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct {
			Drop []string `yaml:"drop"`
			Add  []string `yaml:"add"`
		} `yaml:"capabilities"`
		SeccompProfile struct {
			Type string `yaml:"type"`
		} `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Resources struct {
		Requests map[string]string `yaml:"requests"`
	} `yaml:"resources"`
	VolumeMounts []struct {
		Name      string `yaml:"name"`
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
}

type podVolume struct {
	Name     string `yaml:"name"`
	HostPath struct {
		Path string `yaml:"path"`
		Type string `yaml:"type"`
	} `yaml:"hostPath"`
}

// decodePod reads a manifest strictly.
func decodePod(text string) (pod, error) {
	var p pod
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&p); err != nil {
		return p, err
	}
	if p.APIVersion != "v1" || p.Kind != "Pod" {
		return p, fmt.Errorf("%s %s: want v1 Pod", p.APIVersion, p.Kind)
	}
	return p, p.judge()
}

var (
	dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	quantity = regexp.MustCompile(`^[0-9]+(m|Ki|Mi|Gi)?$`)
)

// judge refuses what a kubelet refuses in a static pod, as far as the examples go: the API's validation of names, enumerations and
// references. A static pod cannot refer to other objects of the API, for which pod has no key.
func (p pod) judge() error {
	names := []string{p.Metadata.Name, p.Metadata.Namespace}
	oneOf := func(what, value string, allowed ...string) error {
		if !slices.Contains(allowed, value) {
			return fmt.Errorf("%s is %q, want one of %q", what, value, allowed)
		}
		return nil
	}
	errs := []error{oneOf("restartPolicy", p.Spec.RestartPolicy, "Always", "OnFailure", "Never")}
	paths := map[string]bool{}
	for _, v := range p.Spec.Volumes {
		names = append(names, v.Name)
		paths[v.Name] = true
		errs = append(errs, oneOf("type of hostPath "+v.HostPath.Path, v.HostPath.Type, "", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"))
		if !strings.HasPrefix(v.HostPath.Path, "/") || strings.Contains(v.HostPath.Path, "..") {
			errs = append(errs, fmt.Errorf("hostPath %q is not absolute", v.HostPath.Path))
		}
	}
	for _, c := range p.Spec.Containers {
		names = append(names, c.Name)
		errs = append(errs, oneOf("imagePullPolicy", c.ImagePullPolicy, "Always", "IfNotPresent", "Never"),
			oneOf("seccompProfile", c.SecurityContext.SeccompProfile.Type, "RuntimeDefault", "Unconfined"))
		for _, m := range c.VolumeMounts {
			if !paths[m.Name] || !strings.HasPrefix(m.MountPath, "/") {
				errs = append(errs, fmt.Errorf("volumeMount %+v: no such volume, or no absolute path", m))
			}
		}
		for name, q := range c.Resources.Requests {
			if !quantity.MatchString(q) {
				errs = append(errs, fmt.Errorf("request of %s is %q", name, q))
			}
		}
		if c.Image == "" {
			errs = append(errs, fmt.Errorf("container %s has no image", c.Name))
		}
	}
	for _, name := range names {
		if !dnsLabel.MatchString(name) {
			errs = append(errs, fmt.Errorf("the name %q is no DNS label", name))
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestPodsThatNoKubeletTakes(t *testing.T) {
	good := example(t, "containers/understudy.yaml")
	if _, err := decodePod(good); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{"hostNetwork", "hostNetworks"}, {"readOnlyRootFilesystem", "readonlyRootFilesystem"}, {"kind: Pod", "kind: Pods"},
		{"name: run\n", "name: rum\n"}, {"DirectoryOrCreate", "CreateDirectory"}, {"path: /run", "path: run"}, {"32Mi", "32MB"},
		{"runAsUser: 0", "runAsUser: root"}, {"name: understudy\n", "name: Understudy\n"}, {"IfNotPresent", "Missing"},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if _, err := decodePod(bad); err == nil || bad == good {
			t.Errorf("%q in place of %q is accepted", change[1], change[0])
		}
	}
}
