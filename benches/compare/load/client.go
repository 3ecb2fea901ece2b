package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	"k8s.io/kms/pkg/service"
)

// kube-apiserver's default.
const timeout = 3 * time.Second

// The longest ciphertext and key_id that kube-apiserver takes (kmsv2/envelope.go).
const longest = 1024

// What went wrong in this run; the first of each is shown.
var failures struct{ errors, wrong atomic.Int64 }

func failed(err error) {
	if failures.errors.Add(1) == 1 {
		fmt.Fprintln(os.Stderr, "load: first error:", err)
	}
}

func wrong(format string, a ...any) {
	if failures.wrong.Add(1) == 1 {
		fmt.Fprintf(os.Stderr, "load: first wrong answer: "+format+"\n", a...)
	}
}

// One connection, as kube-apiserver has it.
type client struct {
	plugin service.Service
	keyID  string
	close  context.CancelFunc
}

// What one Encrypt gave.
type sealed struct {
	seed, ciphertext []byte
	keyID            string
	annotations      map[string][]byte
}

// connect returns when Status is good.
func connect(socket string) (*client, error) {
	ctx, cancel := context.WithCancel(context.Background())
	plugin, err := kmsv2.NewGRPCService(ctx, "unix://"+socket, "compare", timeout)
	if err != nil {
		cancel()
		return nil, err
	}
	status, err := plugin.Status(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	if status.Version != "v2" || status.Healthz != "ok" || status.KeyID == "" {
		cancel()
		return nil, fmt.Errorf("Status is %+v", status)
	}
	return &client{plugin: plugin, keyID: status.KeyID, close: cancel}, nil
}

func (c *client) status() {
	status, err := c.plugin.Status(context.Background())
	switch {
	case err != nil:
		failed(err)
	case status.Version != "v2" || status.Healthz != "ok" || status.KeyID != c.keyID:
		wrong("Status is %+v", status)
	}
}

// encrypt wraps a new seed. Whether the ciphertext is right shows when it is decrypted.
func (c *client) encrypt() (sealed, error) {
	seed := make([]byte, 32)
	if _, err := rand.Read(seed); err != nil {
		return sealed{}, err
	}
	response, err := c.plugin.Encrypt(context.Background(), string(uuid.NewUUID()), seed)
	if err != nil {
		failed(err)
		return sealed{}, err
	}
	if response.KeyID != c.keyID {
		wrong("Encrypt under %q after Status with %q", response.KeyID, c.keyID)
	}
	if length := len(response.Ciphertext); length == 0 || length > longest || bytes.Contains(response.Ciphertext, seed) {
		wrong("a ciphertext of %d bytes", length)
	}
	return sealed{seed, response.Ciphertext, response.KeyID, response.Annotations}, nil
}

func (c *client) decrypt(it sealed) {
	request := service.DecryptRequest{Ciphertext: it.ciphertext, KeyID: it.keyID, Annotations: it.annotations}
	seed, err := c.plugin.Decrypt(context.Background(), string(uuid.NewUUID()), &request)
	switch {
	case err != nil:
		failed(err)
	case !bytes.Equal(seed, it.seed):
		wrong("Decrypt gives another plaintext")
	}
}

// mixed makes n requests: now and then a Status, else an Encrypt and the Decrypt of what it gave.
func (c *client) mixed(n int) {
	var last *sealed
	for at := range n {
		switch {
		case at%100 == 99:
			c.status()
		case last != nil:
			c.decrypt(*last)
			last = nil
		default:
			if it, err := c.encrypt(); err == nil {
				last = &it
			}
		}
	}
}

var errCommand = errors.New("name the plugin's command behind --")
