// Calls without a pause, while the plugin is rotated or exchanged for another.
package main

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"
)

// Longer than the plugin may be away: kube-apiserver's calls wait for it too, but only 3 s by default.
const patience = 30 * time.Second

// Messages that are kept of each kind.
const most = 20

type blows struct {
	stop context.CancelFunc
	done sync.WaitGroup

	lock   sync.Mutex
	result answer
	rounds []int // of each worker
	keys   map[string]bool
}

var hammering *blows

// hammer starts workers, each with a connection of its own, until "halt".
// A kube-apiserver asks for Status and then for Encrypt, one after the other: so does each worker.
func hammer(todo request) answer {
	ctx, stop := context.WithCancel(context.Background())
	hammering = &blows{stop: stop, rounds: make([]int, todo.Workers), keys: map[string]bool{}}
	for worker := range todo.Workers {
		hammering.done.Add(1)
		go hammering.work(ctx, worker, todo.Socket)
	}
	return answer{}
}

func halt() answer {
	hammering.stop()
	hammering.done.Wait()
	return blowsSoFar()
}

// blowsSoFar is what they met until now.
func blowsSoFar() answer {
	hammering.lock.Lock()
	defer hammering.lock.Unlock()
	sum := hammering.result
	sum.Least = slices.Min(hammering.rounds)
	for _, rounds := range hammering.rounds {
		sum.Rounds += rounds
	}
	for key := range hammering.keys {
		sum.KeyIDs = append(sum.KeyIDs, key)
	}
	return sum
}

func (b *blows) work(ctx context.Context, worker int, socket string) {
	defer b.done.Done()
	connection, disconnect := context.WithCancel(context.Background())
	defer disconnect()
	plugin, err := dial(connection, socket, patience)
	if err != nil {
		b.failed(err)
		return
	}
	for ctx.Err() == nil {
		told, err := plugin.Status(context.Background())
		if err != nil {
			b.failed(err)
			continue
		}
		used, err := roundTrip(plugin, randomSeed())
		if err != nil {
			b.failed(err)
			continue
		}
		b.agreed(worker, told.KeyID, used)
	}
}

func (b *blows) agreed(worker int, told, used string) {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.rounds[worker]++
	b.keys[used] = true
	if told != used && len(b.result.Mismatches) < most {
		b.result.Mismatches = append(b.result.Mismatches, "Status said "+told+", Encrypt "+used)
	}
}

func (b *blows) failed(err error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if len(b.result.Failures) < most {
		b.result.Failures = append(b.result.Failures, err.Error())
	}
}

func randomSeed() []byte {
	seed := make([]byte, 32)
	rand.Read(seed)
	return seed
}
