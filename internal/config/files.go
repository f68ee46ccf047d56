package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/hashicorp/hcl/v2"
)

// mainFile is the file of a configuration directory that every host has; fragmentDirs may hold more.
const mainFile = "understudy.hcl"

var fragmentDirs = []string{"checks.d", "conf.d"}

// files is what was read: once, so that the evaluations for several nodes see the same bytes.
type files struct {
	// sources in the order of reading: configuration files first, then what the function file read.
	sources []Source
	bodies  []*hcl.File
	// looked are the paths of these, and of all else that was read or was to be, as for keys: the daemon watches them.
	looked []string
	// broken says that a file could not be read or parsed: names that are missing may be in it.
	broken bool
	// whole says that a configuration directory was read, not fragments one by one.
	whole bool
	found findings
	// trust is asked before a file or directory is read; nil: all are trusted. untrusted is its first refusal.
	trust     func(path string) error
	untrusted error
}

// read reads and parses every file that paths name. Whatever is wrong is in found.
func read(paths []string) *files { return readTrusted(paths, nil) }

// readTrusted is read for whom not every file is good enough.
func readTrusted(paths []string, trust func(path string) error) *files {
	f := &files{trust: trust}
	if len(paths) == 0 {
		f.fail(errors.New("no configuration is named; use --config PATH"))
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			f.fail(errors.New(reasonOf(path, err)))
		case info.IsDir():
			f.readDirectory(path)
		default:
			f.readSource(path)
		}
	}
	return f
}

// look takes note of a path that is read, or would be if it were there.
func (f *files) look(path string) {
	if path = filepath.Clean(path); !slices.Contains(f.looked, path) {
		f.looked = append(f.looked, path)
	}
}

func (f *files) fail(err error) {
	f.broken = true
	f.found.errorf(hcl.Range{}, "", "%v", err)
}

// ignored warns of a file that is not read.
func (f *files) ignored(path, remedy string) {
	f.found.warnf(startOf(Source{Path: path}), remedy, "this file is not read")
}

// readDirectory reads the main file and the fragments of dir, or, in a directory that has neither (one of fragments), its
// own *.hcl and *.hcl.json.
func (f *files) readDirectory(dir string) {
	var paths []string
	if main := filepath.Join(dir, mainFile); exists(main) {
		paths = append(paths, main)
	}
	for _, name := range fragmentDirs {
		if sub := filepath.Join(dir, name); exists(sub) {
			paths = append(paths, f.list(sub)...)
		}
	}
	own := f.list(dir)
	if len(paths) == 0 {
		paths = own
	} else {
		f.whole = true
		for _, path := range own {
			if filepath.Base(path) != mainFile {
				f.ignored(path, "move it into conf.d, or name it with --config")
			}
		}
	}
	if len(paths) == 0 && !f.broken {
		f.fail(fmt.Errorf("%s holds no configuration; looked for %s, checks.d/*.hcl, conf.d/*.hcl and *.hcl", dir, mainFile))
	}
	for _, path := range paths {
		f.readSource(path)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// missing says that nothing is at a path for sure, or can be: where it may not be looked that is not known.
func missing(path string) bool {
	_, err := os.Stat(path)
	return slices.ContainsFunc([]error{fs.ErrNotExist, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.EINVAL}, func(is error) bool { return errors.Is(err, is) })
}

// list returns the *.hcl and *.hcl.json of a directory in lexical order. A dot in front hides a file, as editors and
// package managers expect.
func (f *files) list(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err == nil {
		err = f.trusts(dir)
	}
	if err != nil {
		f.fail(errors.New(reasonOf(dir, err)))
		return nil
	}
	var paths []string
	for _, e := range entries {
		name := e.Name()
		path := filepath.Join(dir, name)
		if strings.HasPrefix(name, ".") {
			continue
		}
		if !strings.HasSuffix(name, ".hcl") && !strings.HasSuffix(name, ".hcl.json") {
			if slices.Contains(fragmentDirs, filepath.Base(dir)) && strings.HasSuffix(name, ".conf") { // as keepalived's are called
				f.ignored(path, "name it *.hcl")
			}
			continue
		}
		f.look(path)
		// A pipe or a device in a directory could block or never end.
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			continue
		}
		paths = append(paths, path)
	}
	return paths
}

func (f *files) readSource(path string) {
	path = filepath.Clean(path)
	if slices.ContainsFunc(f.sources, func(s Source) bool { return s.Path == path }) {
		return
	}
	if len(f.sources) >= maxSourcesCount {
		f.fail(fmt.Errorf("%s is not read: more than %d files", path, maxSourcesCount))
		return
	}
	text, err := f.text(path)
	if err != nil {
		f.fail(errors.New(reasonOf(path, err)))
		return
	}
	body, diags := parse(path, text)
	f.found.add(diags)
	if diags.HasErrors() {
		f.broken = true
		return
	}
	f.bodies = append(f.bodies, body)
}

var (
	errTooLarge  = fmt.Errorf("it is larger than %d bytes", maxSourceBytes)
	errDirectory = errors.New("it is a directory")
	errIrregular = errors.New("it is not a regular file")
)

// regular is text for a path that the configuration names: a pipe or a device might never end.
func (f *files) regular(path string) ([]byte, error) {
	f.look(path)
	if info, err := os.Stat(path); err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		return nil, errIrregular
	}
	return f.text(path)
}

// text reads a file once and remembers it among the sources.
func (f *files) text(path string) ([]byte, error) {
	for _, s := range f.sources {
		if s.Path == path {
			return s.Bytes, nil
		}
	}
	f.look(path)
	if err := f.trusts(path); err != nil {
		return nil, err
	}
	// Without O_NONBLOCK the open of a pipe that nobody writes to would wait for ever.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxSourceBytes+1))
	if errors.Is(err, syscall.EISDIR) {
		return nil, errDirectory
	}
	if err != nil {
		return nil, err
	}
	if len(text) > maxSourceBytes {
		return nil, errTooLarge
	}
	f.sources = append(f.sources, Source{Path: path, Bytes: text})
	return text, nil
}

// trusts asks whether a path may be read.
func (f *files) trusts(path string) error {
	if f.trust == nil {
		return nil
	}
	err := f.trust(path)
	if f.untrusted == nil && !errors.Is(err, fs.ErrNotExist) {
		f.untrusted = err
	}
	return err
}

// reasonOf says why a path could not be read, and what helps.
func reasonOf(path string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path + " does not exist"
	case errors.Is(err, fs.ErrPermission):
		return path + " may not be read: permission denied"
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return fmt.Sprintf("%s cannot be read: %v", path, err)
}
