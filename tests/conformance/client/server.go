// What one kube-apiserver has: transformers, health checks and the reload of its
// EncryptionConfiguration, put together as in k8s.io/apiserver's server/options/etcd.go.
package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig/controller"
	"k8s.io/apiserver/pkg/storage/value"
)

const apiServerID = "conformance"

type server struct {
	transformers *encryptionconfig.DynamicTransformers
	stop         context.CancelFunc
}

var servers = map[string]*server{}

func init() {
	// A minute in kube-apiserver.
	controller.EncryptionConfigFileChangePollDuration = 100 * time.Millisecond
}

// load is the start of a kube-apiserver: nothing is cached.
func load(todo request) answer {
	unload(todo)
	ctx, stop := context.WithCancel(context.Background())
	ctxTransformers, closeTransformers := context.WithCancel(ctx)
	config, err := encryptionconfig.LoadEncryptionConfig(ctxTransformers, todo.Config, true, apiServerID)
	if err != nil {
		closeTransformers()
		stop()
		return failed(err)
	}
	transformers := encryptionconfig.NewDynamicTransformers(
		config.Transformers, config.HealthChecks[0], closeTransformers, config.KMSCloseGracePeriod)
	reload := controller.NewDynamicEncryptionConfiguration(
		"reload", todo.Config, transformers, config.EncryptionFileContentHash, apiServerID)
	go reload.Run(ctx)
	servers[todo.Server] = &server{transformers, stop}
	return answer{}
}

func unload(todo request) answer {
	if server := servers[todo.Server]; server != nil {
		server.stop()
		delete(servers, todo.Server)
	}
	return answer{}
}

// health is what kube-apiserver's /readyz says of its providers.
func health(todo request) answer {
	ask, err := http.NewRequest(http.MethodGet, "/readyz", nil)
	if err != nil {
		return failed(err)
	}
	return failed(servers[todo.Server].transformers.Check(ask))
}

func write(todo request) answer {
	out, err := secrets(todo.Server).TransformToStorage(context.Background(), todo.Data, place(todo.Key))
	if err != nil {
		return failed(err)
	}
	return answer{Value: out}
}

func read(server string, object stored) answer {
	return transformed(secrets(server), object)
}

// reads reads all objects at once.
func reads(todo request) answer {
	all := answer{Reads: make([]answer, len(todo.Reads))}
	var done sync.WaitGroup
	started := time.Now()
	for i, object := range todo.Reads {
		done.Add(1)
		go func() {
			defer done.Done()
			all.Reads[i] = read(todo.Server, object)
		}()
	}
	done.Wait()
	all.Millis = time.Since(started).Milliseconds()
	return all
}

func secrets(server string) value.Transformer {
	return servers[server].transformers.TransformerForResource(schema.GroupResource{Resource: "secrets"})
}

func transformed(transformer value.Transformer, object stored) answer {
	out, stale, err := transformer.TransformFromStorage(context.Background(), object.Value, place(object.Key))
	if err != nil {
		return failed(err)
	}
	return answer{Data: out, Stale: stale}
}

// place is an object's key in etcd, which kube-apiserver authenticates with it.
func place(key string) value.Context {
	return value.DefaultContext(key)
}
