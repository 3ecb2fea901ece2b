package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const patience = 20 * time.Second

// The plugin, as a child of ours.
type server struct {
	process *os.Process
	ended   chan error
}

// start ends with the first good Status, and notes how long that took.
func start(socket, log string, command []string, figures figures) (*server, *client, error) {
	if len(command) == 0 {
		return nil, nil, errCommand
	}
	output, err := os.Create(log)
	if err != nil {
		return nil, nil, err
	}
	defer output.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = output, output
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	it := &server{process: cmd.Process, ended: make(chan error, 1)}
	go func() { it.ended <- cmd.Wait() }()
	client, err := it.firstStatus(socket)
	if err != nil {
		it.kill()
		return nil, nil, err
	}
	figures["start.ms"] = time.Since(started).Seconds() * 1e3
	cpu, err := it.cpu()
	if err != nil {
		return nil, nil, err
	}
	figures["start.cpu_ms"] = cpu / 1e3
	return it, client, nil
}

// firstStatus knocks until somebody listens: the gRPC client would rest for a second after a dial that failed.
func (s *server) firstStatus(socket string) (*client, error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		select {
		case err := <-s.ended:
			s.ended <- err
			return nil, fmt.Errorf("the plugin ended before it listened: %v", err)
		default:
		}
		if knock, err := net.Dial("unix", socket); err == nil {
			knock.Close()
			return connect(socket)
		}
		time.Sleep(100 * time.Microsecond)
	}
	return nil, fmt.Errorf("nobody listens at %s", socket)
}

// settle waits until the plugin has used little CPU for half a second.
func (s *server) settle() error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		before, err := s.cpu()
		if err != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond)
		after, err := s.cpu()
		if err != nil {
			return err
		}
		if after-before < 20_000 {
			return nil
		}
	}
	return fmt.Errorf("the plugin does not come to rest")
}

// cpu is what its living threads have used, in µs (Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat").
func (s *server) cpu() (float64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.process.Pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("the plugin is gone: %v", err)
	}
	total := 0.0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // A thread that has just ended.
		}
		nanoseconds, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
		if err != nil {
			return 0, err
		}
		total += nanoseconds / 1e3
	}
	return total, nil
}

func (s *server) rss() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			return strconv.ParseFloat(strings.Fields(value)[0], 64)
		}
	}
	return 0, fmt.Errorf("no VmRSS in %q", text)
}

// stop ends it as a supervisor does.
func (s *server) stop() error {
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-s.ended:
		if err != nil {
			return fmt.Errorf("the plugin ended badly: %w", err)
		}
		return nil
	case <-time.After(patience):
		s.kill()
		return fmt.Errorf("the plugin does not end")
	}
}

func (s *server) kill() { _ = s.process.Kill() }
