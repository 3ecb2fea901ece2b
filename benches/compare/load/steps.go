package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Step and figure, such as "loop64.rps".
type figures map[string]float64

var callers = []int{1, 8, 64, 256}

// sequential asks one thing after the other, as kube-apiserver does with Status and Encrypt.
func sequential(server *server, client *client, size sizes, figures figures) error {
	made := make([]sealed, 0, size.sequential)
	calls := []struct {
		name string
		call func(at int)
	}{
		{"status", func(int) { client.status() }},
		{"encrypt", func(int) {
			if it, err := client.encrypt(); err == nil {
				made = append(made, it)
			}
		}},
		{"decrypt", func(at int) {
			if at < len(made) {
				client.decrypt(made[at])
			}
		}},
	}
	cpu := 0.0
	for _, each := range calls {
		times := make([]time.Duration, size.sequential)
		spent, err := spend(server, "sequential."+each.name, size.sequential, figures, func() {
			for at := range times {
				started := time.Now()
				each.call(at)
				times[at] = time.Since(started)
			}
		})
		if err != nil {
			return err
		}
		cpu += spent
		slices.Sort(times)
		figures["sequential."+each.name+".p50_us"] = quantile(times, 50)
		figures["sequential."+each.name+".p99_us"] = quantile(times, 99)
	}
	figures["sequential.cpu_us"] = cpu / float64(len(calls)*size.sequential)
	return nil
}

// closedLoops has several callers on one connection, each waiting for its answer before it asks again.
func closedLoops(server *server, client *client, size sizes, figures figures) error {
	for _, callers := range callers {
		n := size.loop
		if callers == 1 {
			n = size.alone
		}
		if err := loop(server, client, fmt.Sprintf("loop%d", callers), callers, n, figures); err != nil {
			return err
		}
	}
	return nil
}

func loop(server *server, client *client, name string, callers, n int, figures figures) error {
	each := n / callers
	_, err := spend(server, name, each*callers, figures, func() {
		together(callers, func(int) { client.mixed(each) })
	})
	return err
}

// storm is a kube-apiserver that starts with an empty cache: a new connection, everything asked once.
func storm(server *server, first *client, socket string, size sizes, figures figures) error {
	const callers = 64
	made := make([]sealed, size.storm)
	together(callers, func(caller int) {
		for at := caller; at < len(made); at += callers {
			made[at], _ = first.encrypt()
		}
	})
	second, err := connect(socket)
	if err != nil {
		return err
	}
	defer second.close()
	_, err = spend(server, "storm", size.storm, figures, func() {
		together(callers, func(caller int) {
			for at := caller; at < len(made); at += callers {
				second.decrypt(made[at])
			}
		})
	})
	return err
}

// connections makes one after the other, each with a Status.
func connections(server *server, socket string, size sizes, figures figures) error {
	_, err := spend(server, "connections", size.connections, figures, func() {
		for range size.connections {
			client, err := connect(socket)
			if err != nil {
				failed(err)
				continue
			}
			client.close()
		}
	})
	return err
}

func soak(server *server, client *client, size sizes, figures figures) error {
	return loop(server, client, "soak", 64, size.soak, figures)
}

// spend notes what n requests cost: NAME.rps and NAME.cpu_us of one; it returns the µs of all.
func spend(server *server, name string, n int, figures figures, run func()) (float64, error) {
	before, err := server.cpu()
	if err != nil {
		return 0, err
	}
	started := time.Now()
	run()
	took := time.Since(started)
	after, err := server.cpu()
	if err != nil {
		return 0, err
	}
	figures[name+".rps"] = float64(n) / took.Seconds()
	figures[name+".cpu_us"] = (after - before) / float64(n)
	return after - before, nil
}

func together(callers int, run func(caller int)) {
	var waiting sync.WaitGroup
	for caller := range callers {
		waiting.Go(func() { run(caller) })
	}
	waiting.Wait()
}

func quantile(sorted []time.Duration, percent int) float64 {
	return sorted[(len(sorted)-1)*percent/100].Seconds() * 1e6
}
