// The load: starts one KMS v2 plugin, calls it through kube-apiserver's own client code, checks every answer, and prints
// what it cost as one JSON object.
//
//	load -socket S [-quick] [-syscalls] [-log FILE] -- COMMAND ARGUMENTS...
//
// The plugin's CPU time and memory are read from /proc, its system calls are counted by strace.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

// How much of everything.
type sizes struct {
	sequential, alone, loop, storm, connections, soak, traced int
}

var (
	whole = sizes{sequential: 2_000, alone: 4_000, loop: 20_000, storm: 10_000, connections: 500, soak: 100_000, traced: 2_000}
	small = sizes{sequential: 100, alone: 100, loop: 500, storm: 200, connections: 20, soak: 1_000, traced: 100}
)

func main() {
	socket := flag.String("socket", "", "the plugin's socket")
	quick := flag.Bool("quick", false, "little of everything: shows that it works, and nothing else")
	syscalls := flag.Bool("syscalls", false, "count system calls at the end, by strace")
	log := flag.String("log", os.DevNull, "where the plugin's standard streams go")
	flag.Parse()
	size := whole
	if *quick {
		size = small
	}
	figures, err := measure(*socket, *log, flag.Args(), size, *syscalls)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(figures); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// One run of one plugin, from its start to its end.
func measure(socket, log string, command []string, size sizes, syscalls bool) (map[string]float64, error) {
	figures := make(figures)
	server, client, err := start(socket, log, command, figures)
	if err != nil {
		return nil, err
	}
	defer server.kill()
	if err := server.settle(); err != nil {
		return nil, err
	}
	if figures["idle.rss_kib"], err = server.rss(); err != nil {
		return nil, err
	}
	steps := []func() error{
		func() error { return sequential(server, client, size, figures) },
		func() error { return closedLoops(server, client, size, figures) },
		func() error { return storm(server, client, socket, size, figures) },
		func() error { return connections(server, socket, size, figures) },
		func() error { return soak(server, client, size, figures) },
		func() (err error) { figures["after.rss_kib"], err = server.rss(); return err },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if syscalls {
		if err := countSyscalls(server, client, size, figures); err != nil {
			return nil, err
		}
	}
	client.close()
	if err := server.stop(); err != nil {
		return nil, err
	}
	figures["errors"], figures["wrong"] = float64(failures.errors.Load()), float64(failures.wrong.Load())
	return figures, nil
}
