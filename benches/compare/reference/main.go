// The reference: the KMS v2 plugin that a Go author gets for free. The gRPC service of k8s.io/kms as it is, and one
// AES-256-GCM key in memory: no ring, no validation, no check of who connects, no log.
package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"flag"
	"log"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/kms/pkg/service"
)

const keyID = "reference-key-1"

type plugin struct {
	aead cipher.AEAD
	// To see that the comparison notices: "wrong" bends every hundredth plaintext, "slow" burns CPU in every request.
	fault    string
	decrypts atomic.Uint64
}

func (p *plugin) Status(context.Context) (*service.StatusResponse, error) {
	p.dawdle()
	return &service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: keyID}, nil
}

func (p *plugin) Encrypt(_ context.Context, _ string, plaintext []byte) (*service.EncryptResponse, error) {
	p.dawdle()
	nonce := make([]byte, p.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return &service.EncryptResponse{Ciphertext: p.aead.Seal(nonce, nonce, plaintext, nil), KeyID: keyID}, nil
}

func (p *plugin) Decrypt(_ context.Context, _ string, request *service.DecryptRequest) ([]byte, error) {
	p.dawdle()
	nonce, ciphertext := request.Ciphertext[:p.aead.NonceSize()], request.Ciphertext[p.aead.NonceSize():]
	plaintext, err := p.aead.Open(nil, nonce, ciphertext, nil)
	if err == nil && p.fault == "wrong" && p.decrypts.Add(1)%100 == 0 {
		plaintext[0] ^= 1
	}
	return plaintext, err
}

func (p *plugin) dawdle() {
	if p.fault == "slow" {
		for started := time.Now(); time.Since(started) < 200*time.Microsecond; {
		}
	}
}

func main() {
	socket := flag.String("socket", "", "where to listen")
	fault := flag.String("fault", "", "wrong or slow: what to do badly")
	flag.Parse()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		log.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		log.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		log.Fatal(err)
	}
	server := service.NewGRPCService(*socket, 3*time.Second, &plugin{aead: aead, fault: *fault})
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		server.Shutdown()
	}()
	if err := server.ListenAndServe(); err != nil {
		log.Fatal(err)
	}
}
