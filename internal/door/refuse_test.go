package door

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/notify"
)

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func hook(name string, state notify.State) func(*realHelper, context.Context) error {
	return func(h *realHelper, ctx context.Context) error {
		_, err := h.Hook(ctx, name, become(state))
		return err
	}
}

// told asks for a hook with a transition to master that is changed first.
func told(name string, change func(*notify.Transition)) func(*realHelper, context.Context) error {
	return func(h *realHelper, ctx context.Context) error {
		t := become(notify.Master)
		change(&t)
		_, err := h.Hook(ctx, name, t)
		return err
	}
}

func check(name string) func(*realHelper, context.Context) error {
	return func(h *realHelper, ctx context.Context) error {
		_, err := h.Check(ctx, name)
		return err
	}
}

// refusals are what the helper does not run, and what it says.
var refusals = []struct {
	name    string
	prepare func(*testing.T, *realHelper)
	ask     func(*realHelper, context.Context) error
	want    string // DIR stands for the directory
	run     bool   // refused by the run, not before it
}{
	{name: "a hook that there is not", ask: hook("tel", notify.Master), want: `the configuration of this host has no notify named "tel"; did you mean "tell"?`},
	{name: "a check that there is not", ask: check("tell"), want: `the configuration of this host has no check named "tell"`},
	{
		name: "a hook for another state", ask: hook("tell", notify.Backup),
		want: `notify "tell" is not for "backup" of "web" in the configuration of this host; if that changed, run: understudy reload`,
	},
	{
		name: "an instance that there is not", ask: told("tell", func(t *notify.Transition) { t.Instance = "wep" }),
		want: `the configuration of this host has no instance named "wep"; did you mean "web"?; if that changed, run: understudy reload`,
	},
	{
		name: "a group that there is not", ask: told("tell", func(t *notify.Transition) { t.Group, t.Instance, t.MemberOf = true, "web", "" }),
		want: `the configuration of this host has no group named "web"; if that changed, run: understudy reload`,
	},
	{
		name: "a member of a group that there is not", ask: told("tell", func(t *notify.Transition) { t.MemberOf = "edge" }),
		want: `the configuration of this host has no group named "edge"; if that changed, run: understudy reload`,
	},
	{name: "a check that runs no command", ask: check("site"), want: `check "site" runs no command, so that it needs no helper`},
	{
		name: "another node", ask: hook("tell", notify.Master), want: `the daemon is node "lb1", and this helper "lb2"; give both the same --node`,
		prepare: func(_ *testing.T, h *realHelper) { h.change(func(x *Helper) { x.Node = "lb2" }) },
	},
	{
		name: "no configuration", ask: check("plain"), want: `no check named "plain" can be read: error: DIR/none does not exist`,
		prepare: func(_ *testing.T, h *realHelper) { h.change(func(x *Helper) { x.Paths = []string{h.dir + "/none"} }) },
	},
	{
		name: "a configuration that everybody can write", ask: hook("tell", notify.Master),
		prepare: func(t *testing.T, h *realHelper) { chmod(t, h.dir+"/understudy.hcl", 0o646) },
		want:    "DIR/understudy.hcl is unsafe to trust: everybody may write to DIR/understudy.hcl (mode 0646); chmod o-w DIR/understudy.hcl",
	},
	{
		name: "another file of it that its group can write", ask: hook("tell", notify.Master),
		prepare: func(t *testing.T, h *realHelper) { chmod(t, h.write(t, "conf.d/log.hcl", "log {\n}\n"), 0o660) },
		want:    "DIR/conf.d/log.hcl is unsafe to trust: group root may write to DIR/conf.d/log.hcl (mode 0660); chmod g-w DIR/conf.d/log.hcl",
	},
	{
		name: "a directory of it that the daemon can write", ask: hook("tell", notify.Master),
		prepare: func(t *testing.T, h *realHelper) {
			h.write(t, "conf.d/.hidden", "")
			if err := os.Chown(h.dir+"/conf.d", 65534, 0); err != nil {
				t.Fatal(err)
			}
		},
		want: "DIR/conf.d is unsafe to trust: DIR/conf.d (mode 0755) belongs to nobody, not to root; chown root DIR/conf.d",
	},
	{
		name: "a directory above", ask: check("plain"),
		prepare: func(t *testing.T, h *realHelper) { chmod(t, h.dir, 0o777|os.ModeSticky) },
		want:    "DIR is unsafe to trust: everybody may write to DIR (mode 1777); keep it where only root can write, such as /etc/understudy",
	},
	{
		name: "a file that an expression reads", ask: hook("read", notify.Master),
		prepare: func(t *testing.T, h *realHelper) {
			h.write(t, "conf.d/read.hcl", "notify \"script\" \"read\" {\n  on = [\"master\"]\n  command = [file(\"which\")]\n}\n")
			chmod(t, h.write(t, "conf.d/which", "DIR/tell"), 0o666)
		},
		want: "DIR/conf.d/which is unsafe to trust: everybody may write to DIR/conf.d/which (mode 0666); chmod go-w DIR/conf.d/which",
	},
	{
		name: "a script that everybody can write", ask: hook("tell", notify.Master), run: true,
		prepare: func(t *testing.T, h *realHelper) { chmod(t, h.dir+"/tell", 0o757) },
		want:    "DIR/tell is unsafe to run: everybody may write to DIR/tell (mode 0757); chmod o-w DIR/tell",
	},
	{
		name: "a script that the user can write who runs it", ask: hook("deployed", notify.Master), run: true,
		prepare: func(t *testing.T, h *realHelper) {
			if err := os.Chown(h.dir+"/tell", 65534, -1); err != nil {
				t.Fatal(err)
			}
		},
		want: "DIR/tell is unsafe to run: DIR/tell (mode 0755) belongs to nobody, not to root; only what nobody else can replace is run through the helper; chown root DIR/tell",
	},
	{
		name: "a script of an interpreter that everybody can write", ask: hook("shell", notify.Master), run: true,
		prepare: func(t *testing.T, h *realHelper) {
			h.write(t, "conf.d/shell.hcl", "notify \"script\" \"shell\" {\n  on = [\"master\"]\n  command = [\"/bin/sh\", \"DIR/tell\"]\n}\n")
			chmod(t, h.dir+"/tell", 0o757)
		},
		want: "DIR/tell is unsafe to run: everybody may write to DIR/tell (mode 0757); chmod o-w DIR/tell",
	},
	{
		name: "a mistake in the block itself", ask: hook("tell", notify.Master),
		prepare: func(t *testing.T, h *realHelper) {
			h.write(t, "understudy.hcl", "notify \"script\" \"tell\" {\n  on = [\"master\"]\n  command = []\n}\n")
		},
		want: "DIR/understudy.hcl:3:13: error: command is empty; write the program and its arguments as a list of strings",
	},
	{
		name: "the same name twice", ask: check("plain"),
		prepare: func(t *testing.T, h *realHelper) {
			h.write(t, "conf.d/twice.hcl", "check \"tcp\" \"plain\" {\n  address = \"127.0.0.1:1\"\n}\n")
		},
		want: `DIR/conf.d/twice.hcl:1:1: error: check "plain" is declared twice; it is already at DIR/understudy.hcl:`,
	},
	{
		name: "a file that cannot be parsed, if it may hold the name", ask: hook("other", notify.Master),
		prepare: func(t *testing.T, h *realHelper) { h.write(t, "conf.d/broken.hcl", "notify {{") },
		want:    `no notify named "other" can be read: DIR/conf.d/broken.hcl:1:9: error: `,
	},
}

func TestHelperRefuses(t *testing.T) {
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			h := withScripts(t, newHelper(t, hooks))
			if tt.prepare != nil {
				tt.prepare(t, h)
			}
			want := strings.ReplaceAll(tt.want, "DIR", h.dir)
			if !tt.run {
				want = "the helper refuses: " + want
			}
			if err := tt.ask(h, t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error\n%v\nwant\n%s", err, want)
			}
			log := h.logged()
			if tt.run == strings.Contains(log, `[WARN]  refused: from="root (uid 0)" `) {
				t.Errorf("the log is %q", log)
			}
			if strings.Count(log, "\n") > 1 {
				t.Errorf("more than one line: %q", log)
			}
		})
	}
}
