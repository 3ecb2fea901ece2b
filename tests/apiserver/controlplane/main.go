// The control plane under test: one program that is etcd or
// kube-apiserver, by the name it is called by. One link instead of two keeps the
// cold build short.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig/controller"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		// Upstream exposes this for integration tests: a new EncryptionConfiguration is
		// seen within a second instead of a minute. Nothing else differs.
		controller.EncryptionConfigFileChangePollDuration = time.Second
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	default:
		fmt.Fprintf(os.Stderr, "called as %q: want etcd or kube-apiserver\n", name)
		os.Exit(2)
	}
}
