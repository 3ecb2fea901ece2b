// A KMS v2 client made of kube-apiserver's own code: what kube-apiserver does
// with its encryption providers, without its API and without etcd.
//
// It does what it is told on standard input, a JSON object a line, in order, and
// answers each with a JSON object on standard output. Built with go.mod it is the
// newest Kubernetes that is tested, with v0.32.mod the oldest.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// request is one thing to do. Which fields count depends on what it is.
type request struct {
	Do     string
	Server string // name of a kube-apiserver, as given to "load"
	Config string // path of an EncryptionConfiguration
	Socket string
	Name   string // of a provider

	Key   string // of an object in etcd
	Data  []byte // what kube-apiserver would store in clear
	Value []byte // what it stores instead
	Reads []stored

	Seconds    int64
	Workers    int
	KeyID      string
	Ciphertext []byte
	Annotation string
	Seed       []byte // what the plugin of another cluster would answer
}

type stored struct {
	Key   string
	Value []byte
}

// answer says how it went. Error is empty where it went well.
type answer struct {
	Error       string   `json:"error"`
	Code        string   `json:"code,omitempty"` // of gRPC
	Data        []byte   `json:"data,omitempty"`
	Value       []byte   `json:"value,omitempty"`
	Stale       bool     `json:"stale"`
	Version     string   `json:"version,omitempty"`
	Healthz     string   `json:"healthz,omitempty"`
	KeyID       string   `json:"keyID,omitempty"`
	Ciphertext  []byte   `json:"ciphertext,omitempty"`
	Annotations int      `json:"annotations"`
	Reads       []answer `json:"reads,omitempty"`
	Millis      int64    `json:"millis,omitempty"`

	Rounds     int      `json:"rounds,omitempty"`
	Least      int      `json:"least,omitempty"`
	Mismatches []string `json:"mismatches,omitempty"`
	Failures   []string `json:"failures,omitempty"`
	KeyIDs     []string `json:"keyIDs,omitempty"`
}

// ahead is how far kube-apiserver's clock for the write seed is ahead of the real one.
var ahead atomic.Int64

func now() time.Time {
	return time.Now().Add(time.Duration(ahead.Load()))
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return // whoever tells us what to do is gone
		}
		var todo request
		if err := json.Unmarshal(line, &todo); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		if err := answers.Encode(do(todo)); err != nil {
			return
		}
	}
}

func do(todo request) answer {
	switch todo.Do {
	case "clock": // before the first "load" of the provider
		setNow(todo.Name, now)
		return answer{}
	case "advance":
		ahead.Add(todo.Seconds * int64(time.Second))
		return answer{}
	case "legacy":
		return legacy(todo)

	case "load":
		return load(todo)
	case "close":
		return unload(todo)
	case "health":
		return health(todo)
	case "write":
		return write(todo)
	case "read":
		return read(todo.Server, stored{todo.Key, todo.Value})
	case "reads":
		return reads(todo)
	case "read-foreign":
		return readForeign(todo)

	case "status":
		return askStatus(todo)
	case "encrypt":
		return encrypt(todo)
	case "decrypt":
		return decrypt(todo)
	case "hammer":
		return hammer(todo)
	case "blows":
		return blowsSoFar()
	case "halt":
		return halt()
	case "old-client":
		return oldClient(todo)
	}
	return answer{Error: "what is " + todo.Do + "?"}
}

func failed(err error) answer {
	if err == nil {
		return answer{}
	}
	return answer{Error: err.Error(), Code: code(err)}
}
