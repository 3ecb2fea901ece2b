package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// countSyscalls runs last: strace slows the plugin down.
func countSyscalls(server *server, client *client, size sizes, figures figures) error {
	steps := []struct {
		name    string
		callers int
	}{{"sequential", 1}, {"loop64", 64}}
	for _, step := range steps {
		each := size.traced / step.callers
		calls, err := traced(server, func() {
			together(step.callers, func(int) { client.mixed(each) })
		})
		if err != nil {
			return err
		}
		figures[step.name+".syscalls"] = calls / float64(each*step.callers)
	}
	return nil
}

func traced(server *server, run func()) (float64, error) {
	report, err := os.CreateTemp("", "syscalls-")
	if err != nil {
		return 0, err
	}
	report.Close()
	defer os.Remove(report.Name())
	pid := strconv.Itoa(server.process.Pid)
	strace := exec.Command("strace", "-f", "-c", "-U", "calls,name", "-o", report.Name(), "-p", pid)
	if err := strace.Start(); err != nil {
		return 0, err
	}
	if err := attached(server); err != nil {
		_ = strace.Process.Kill()
		_ = strace.Wait()
		return 0, err
	}
	run()
	if err := strace.Process.Signal(syscall.SIGINT); err != nil {
		return 0, err
	}
	_ = strace.Wait()
	text, err := os.ReadFile(report.Name())
	if err != nil {
		return 0, err
	}
	return total(string(text))
}

// attached waits until every thread has its tracer.
func attached(server *server) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", server.process.Pid))
		untraced := 0
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err == nil && strings.Contains(string(text), "TracerPid:\t0\n") {
				untraced++
			}
		}
		if len(files) > 0 && untraced == 0 {
			return nil
		}
	}
	return fmt.Errorf("strace cannot attach")
}

// total is the last line's: "  15000 total".
func total(text string) (float64, error) {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[1] == "total" {
			return strconv.ParseFloat(fields[0], 64)
		}
	}
	return 0, fmt.Errorf("no total in %q", text)
}
