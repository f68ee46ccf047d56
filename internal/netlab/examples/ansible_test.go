package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// ansibleTask is what is of interest here in a task that writes a file or installs a package.
type ansibleTask struct {
	Name     string      `yaml:"name"`
	Template ansibleFile `yaml:"ansible.builtin.template"`
	Copy     ansibleFile `yaml:"ansible.builtin.copy"`
	Apt      *struct {
		Deb  string `yaml:"deb"`
		Name any    `yaml:"name"`
	} `yaml:"ansible.builtin.apt"`
}

type ansibleFile struct {
	Content  string `yaml:"content"`
	Source   string `yaml:"src"`
	Dest     string `yaml:"dest"`
	Validate string `yaml:"validate"`
}

// TestAnsible validates as Ansible does: a temporary file, whose name says nothing, before it takes its place. And the package is a
// file, as the README has it.
func TestAnsible(t *testing.T) {
	t.Parallel()
	labtest.Root(t) // for the host's name, and without it there is no program
	labtest.Require(t, "unshare")
	var plays []struct {
		Tasks []ansibleTask `yaml:"tasks"`
	}
	if err := yaml.Unmarshal([]byte(example(t, "ansible/understudy.yml")), &plays); err != nil || len(plays) != 1 {
		t.Fatalf("%d plays, %v", len(plays), err)
	}
	validated, brought, installed := 0, "", false
	for _, task := range plays[0].Tasks {
		if task.Apt != nil {
			installed = task.Apt.Name == nil && brought != "" && task.Apt.Deb == brought
			continue
		}
		if strings.HasSuffix(task.Copy.Source, ".deb") {
			brought = task.Copy.Dest
			continue
		}
		f := task.Template
		if task.Copy.Dest != "" {
			f = task.Copy
		}
		if f.Dest == "" {
			continue
		}
		validated++
		text := f.Content
		if f.Source != "" {
			text = example(t, "pair/"+f.Source)
		}
		if out, err := validate(t, f.Validate, text); err != nil {
			t.Errorf("%s: %v\n%s", task.Name, err, out)
		}
		if out, err := validate(t, f.Validate, text+"\n}\n"); err == nil || !strings.Contains(out, ": error: ") {
			t.Errorf("%s: a broken file is valid: %v\n%s", task.Name, err, out)
		}
	}
	if validated != 2 {
		t.Errorf("%d tasks validate what they write, want 2", validated)
	}
	if !installed {
		t.Error("the package that was copied to the host is not the one that is installed: no archive has it")
	}
	fragment := `{"check": {"tcp": {"https": {"address": "127.0.0.1:443"}}}}`
	if out, err := validate(t, "understudy validate %s", fragment); err != nil {
		t.Errorf("JSON: %v\n%s", err, out)
	}
}

// validate runs Ansible's validate on lb1, with a temporary file in place of %s.
func validate(t *testing.T, command, text string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), ".ansible_tmpx1y2") // Ansible's copy module keeps it beside others of that kind
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	argv := strings.Fields(strings.ReplaceAll(command, "%s", file))
	if argv[0] != "understudy" || len(argv) < 3 {
		t.Fatalf("validate is %q", command)
	}
	as := []string{"--uts", "sh", "-c", `echo lb1 >/proc/sys/kernel/hostname && exec "$0" "$@"`, program}
	out, err := exec.Command("unshare", append(as, argv[1:]...)...).CombinedOutput()
	return string(out), err
}
