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
	CPU float64 `json:"cpu_seconds_a_minute"`
	PSS float64 `json:"pss_mib"`
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

// pss is the memory of the processes of a daemon, shared pages divided among those that share them, in MiB.
func (p *process) pss() (float64, error) {
	kib := 0
	for _, pid := range tree(p.pid()) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		n, err := pssOf(string(text))
		if err != nil {
			return 0, fmt.Errorf("memory of process %d: %w", pid, err)
		}
		kib += n
	}
	return float64(kib) / 1024, nil
}

// pssOf reads the sum from smaps_rollup, in KiB.
func pssOf(text string) (int, error) {
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, "Pss:"); found {
			return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
		}
	}
	return 0, fmt.Errorf("no Pss in %q", text)
}
