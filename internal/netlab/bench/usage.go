package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a daemon costs on one host.
type usage struct {
	CPU    float64 `json:"cpu_seconds_a_minute"`
	Memory float64 `json:"memory_mib"`
	PSS    float64 `json:"pss_mib,omitempty"` // only in the first form of results
}

// What memory is measured as.
const (
	resident = "resident memory"
	pss      = "PSS"
)

// memoryMeans says what a measure of memory is.
func memoryMeans(measure string) string {
	if measure == pss {
		return "PSS divides a page among all that share it: the pages of the program count half on each of the two hosts, so one daemon on a\n" +
			"machine of its own has more."
	}
	return "Resident memory is what one daemon has on a machine of its own: its anonymous pages, and of the program and other files every page\n" +
		"that it has mapped, whole and once, though both hosts and several processes share it."
}

// cpuTime is the time that the processes of a daemon have run so far, in user mode and in the kernel on their behalf.
// Threads that have ended are not in it; neither daemon ends any while it runs.
func (p *process) cpuTime() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range tree(p.pid()) {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return 0, err
		}
		for _, t := range tasks {
			// Nanoseconds; the ticks of /proc/PID/stat are too coarse for one instance.
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, t.Name()))
			if err != nil {
				return 0, err
			}
			first, _, _ := strings.Cut(string(text), " ")
			ns, err := strconv.ParseInt(first, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
			}
			sum += time.Duration(ns)
		}
	}
	return sum, nil
}

// memory is what the processes of a daemon have in memory, in MiB. Both hosts run on one kernel and share the pages of files, which a
// machine with one of them would have whole.
func (p *process) memory() (float64, error) {
	kib := 0
	files := make(map[string]int)
	for _, pid := range tree(p.pid()) {
		var text [2]string
		for i, name := range []string{"smaps_rollup", "smaps"} {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
			if err != nil {
				return 0, err
			}
			text[i] = string(data)
		}
		anonymous, err := anonymousOf(text[0])
		if err == nil {
			err = mappedFiles(text[1], files)
		}
		if err != nil {
			return 0, fmt.Errorf("memory of process %d: %w", pid, err)
		}
		kib += anonymous
	}
	for _, n := range files {
		kib += n
	}
	return float64(kib) / 1024, nil
}

// anonymousOf reads the anonymous pages from smaps_rollup, in KiB. What a parent and its child share is divided between them.
func anonymousOf(text string) (int, error) {
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, "Pss_Anon:"); found {
			return kibibytes(rest)
		}
	}
	return 0, fmt.Errorf("no Pss_Anon in %q", text)
}

// mappedFiles reads from smaps how many KiB of each mapped part of a file are in memory, and keeps the most that any process has.
func mappedFiles(text string, files map[string]int) error {
	part, rss := "", 0
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		var err error
		switch {
		case fields[0] == "Rss:":
			rss, err = kibibytes(strings.TrimPrefix(line, "Rss:"))
		case fields[0] == "Anonymous:" && part != "":
			var own int // written to, and so no page of the file any more
			own, err = kibibytes(strings.TrimPrefix(line, "Anonymous:"))
			files[part] = max(files[part], rss-own)
		case len(fields) >= 5 && !strings.HasSuffix(fields[0], ":"):
			// The range, the permissions, the offset, the device and the inode, which is 0 where there is no file.
			if part = strings.Join(fields[2:5], " "); fields[4] == "0" {
				part = ""
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func kibibytes(text string) (int, error) {
	return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")))
}
