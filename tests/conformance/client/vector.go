// Objects of other clusters and of older Kubernetes.
package main

import (
	"context"
	"errors"

	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	"k8s.io/kms/pkg/service"
)

// foreign is the plugin of another cluster, which answers every Decrypt with the same seed.
type foreign struct{ seed []byte }

func (f foreign) Decrypt(context.Context, string, *service.DecryptRequest) ([]byte, error) {
	return f.seed, nil
}

func (foreign) Encrypt(context.Context, string, []byte) (*service.EncryptResponse, error) {
	return nil, errors.New("only reads")
}

func (foreign) Status(context.Context) (*service.StatusResponse, error) {
	return nil, errors.New("only reads")
}

// readForeign reads what stands after the provider's prefix, given its seed.
func readForeign(todo request) answer {
	nothingYet := func() (kmsv2.State, error) { return kmsv2.State{}, nil }
	transformer := kmsv2.NewEnvelopeTransformer(foreign{todo.Seed}, "foreign", nothingYet, apiServerID)
	return transformed(transformer, stored{todo.Key, todo.Value})
}

// legacy makes a provider write as up to Kubernetes 1.28: a key for each seed, and none derived from it.
func legacy(todo request) answer {
	encryptionconfig.SetKDFForTests(todo.Name, false)
	return answer{}
}
