package lint

import (
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// machines are the architectures in a program's header.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// TestProgram: it needs no other file to run, and knows its version. The one for arm64 is looked at, not run.
func TestProgram(t *testing.T) {
	b := packages(t)
	for arch, machine := range machines {
		path := filepath.Join(unpacked(t, b, arch), "usr/bin/understudy")
		f, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != machine {
			t.Errorf("%s: it is for %v", arch, f.Machine)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s: it is linked dynamically (%v)", arch, p.Type)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		settings := map[string]string{}
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		if settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" || settings["GOARCH"] != arch {
			t.Errorf("%s: it was built with %v", arch, settings)
		}
		if arch == runtime.GOARCH {
			if got := output(t, path, "version"); !strings.HasPrefix(got, "understudy "+b.version+" ") {
				t.Errorf("%s: the package's version is %s, the program's %s", arch, b.version, got)
			}
		}
	}
}

// TestBillOfMaterials: it names each module that the program is linked with, in its version, and the version of Go; no time and place of
// the build.
func TestBillOfMaterials(t *testing.T) {
	b := packages(t)
	for arch := range machines {
		var bill struct {
			BomFormat    string
			SerialNumber string
			Metadata     struct {
				Timestamp string
				Component struct{ Name, Version string }
			}
			Components []struct{ Name, Version, Purl string }
		}
		text, err := os.ReadFile(b.sbom[arch])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &bill); err != nil {
			t.Fatal(err)
		}
		if bill.BomFormat != "CycloneDX" || bill.Metadata.Component.Version != "v"+b.version || bill.SerialNumber != "" || bill.Metadata.Timestamp != "" {
			t.Errorf("%s: %q, of version %q, number %q, at %q", arch, bill.BomFormat, bill.Metadata.Component.Version, bill.SerialNumber, bill.Metadata.Timestamp)
		}
		var listed []string
		for _, c := range bill.Components {
			listed = append(listed, c.Name+" "+c.Version)
		}
		info, err := buildinfo.ReadFile(filepath.Join(unpacked(t, b, arch), "usr/bin/understudy"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), `"`+info.GoVersion+`"`) {
			t.Errorf("%s: it does not say that the program was made with %s", arch, info.GoVersion)
		}
		for _, dep := range info.Deps {
			if !slices.Contains(listed, dep.Path+" "+dep.Version) {
				t.Errorf("%s: it lacks %s %s", arch, dep.Path, dep.Version)
			}
		}
	}
}

// TestChecksums: the sums are of all files, and right.
func TestChecksums(t *testing.T) {
	b := packages(t)
	out := lines(output(t, "sh", "-c", "cd "+where+" && sha256sum --strict --check SHA256SUMS"))
	for _, files := range []map[string]string{b.deb, b.rpm, b.sbom} {
		for _, path := range files {
			if !slices.Contains(out, filepath.Base(path)+": OK") {
				t.Errorf("%s has no sum", path)
			}
		}
	}
}
