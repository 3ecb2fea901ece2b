// The plugin's three methods, called as kube-apiserver calls them.
package main

import (
	"bytes"
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	kmstypes "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2"
	api "k8s.io/kms/apis/v2"
	"k8s.io/kms/pkg/service"
)

// The default of an EncryptionConfiguration.
const timeout = 3 * time.Second

var services = map[string]service.Service{}

// connected is the one connection to a socket.
func connected(socket string) (service.Service, error) {
	if known := services[socket]; known != nil {
		return known, nil
	}
	plugin, err := dial(context.Background(), socket, timeout)
	if err == nil {
		services[socket] = plugin
	}
	return plugin, err
}

func dial(ctx context.Context, socket string, timeout time.Duration) (service.Service, error) {
	return kmsv2.NewGRPCService(ctx, "unix://"+socket, "conformance", timeout)
}

func askStatus(todo request) answer {
	plugin, err := connected(todo.Socket)
	if err != nil {
		return failed(err)
	}
	told, err := plugin.Status(context.Background())
	if err != nil {
		return failed(err)
	}
	return answer{Version: told.Version, Healthz: told.Healthz, KeyID: told.KeyID}
}

// encrypt fails also where kube-apiserver would throw the answer away.
func encrypt(todo request) answer {
	plugin, err := connected(todo.Socket)
	if err != nil {
		return failed(err)
	}
	sealed, err := plugin.Encrypt(context.Background(), uid(), todo.Data)
	if err != nil {
		return failed(err)
	}
	err = kmsv2.ValidateEncryptedObject(&kmstypes.EncryptedObject{
		EncryptedData:          []byte{0}, // must not be empty
		KeyID:                  sealed.KeyID,
		EncryptedDEKSource:     sealed.Ciphertext,
		Annotations:            sealed.Annotations,
		EncryptedDEKSourceType: kmstypes.EncryptedDEKSourceType_HKDF_SHA256_XNONCE_AES_GCM_SEED,
	})
	if err != nil {
		return failed(err)
	}
	return answer{KeyID: sealed.KeyID, Ciphertext: sealed.Ciphertext, Annotations: len(sealed.Annotations)}
}

func decrypt(todo request) answer {
	plugin, err := connected(todo.Socket)
	if err != nil {
		return failed(err)
	}
	what := &service.DecryptRequest{Ciphertext: todo.Ciphertext, KeyID: todo.KeyID}
	if todo.Annotation != "" {
		what.Annotations = map[string][]byte{todo.Annotation: []byte("x")}
	}
	opened, err := plugin.Decrypt(context.Background(), uid(), what)
	if err != nil {
		return failed(err)
	}
	return answer{Data: opened}
}

// oldClient asks for the Status as kube-apiserver did up to 1.31: with the
// socket's path where HTTP/2 wants a host.
func oldClient(todo request) answer {
	connection, err := grpc.NewClient("unix://"+todo.Socket,
		grpc.WithAuthority(todo.Socket),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return failed(err)
	}
	defer connection.Close()
	ctx, stop := context.WithTimeout(context.Background(), timeout)
	defer stop()
	_, err = api.NewKeyManagementServiceClient(connection).Status(ctx, &api.StatusRequest{})
	return failed(err)
}

func roundTrip(plugin service.Service, seed []byte) (encryptedUnder string, err error) {
	sealed, err := plugin.Encrypt(context.Background(), uid(), seed)
	if err != nil {
		return "", err
	}
	opened, err := plugin.Decrypt(context.Background(), uid(), &service.DecryptRequest{
		Ciphertext: sealed.Ciphertext, KeyID: sealed.KeyID, Annotations: sealed.Annotations,
	})
	if err == nil && !bytes.Equal(opened, seed) {
		err = errors.New("Decrypt returned other bytes than Encrypt was given")
	}
	return sealed.KeyID, err
}

func uid() string {
	return string(uuid.NewUUID())
}

// code is gRPC's, from however deep below the error.
func code(err error) string {
	var known interface{ GRPCStatus() *status.Status }
	if errors.As(err, &known) {
		return known.GRPCStatus().Code().String()
	}
	return ""
}
