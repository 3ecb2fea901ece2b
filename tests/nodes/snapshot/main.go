// Saves a snapshot of an etcd, and makes the data directory of a member of it: what
// `etcdctl snapshot save` and `etcdutl snapshot restore` do, by their own code.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	client "go.etcd.io/etcd/client/v3/snapshot"
	utl "go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 6 && args[0] == "save":
		return save(args[1], args[2], args[3], args[4], args[5])
	case len(args) == 6 && args[0] == "restore":
		return utl.NewV3(zap.NewNop()).Restore(utl.RestoreConfig{
			SnapshotPath:        args[1],
			Name:                args[2],
			OutputDataDir:       args[3],
			PeerURLs:            []string{args[4]},
			InitialCluster:      args[5],
			InitialClusterToken: "restored",
		})
	}
	return fmt.Errorf("usage: snapshot save ENDPOINT CA CERT KEY FILE | restore FILE NAME DIR PEER-URL CLUSTER")
}

func save(endpoint, ca, cert, key, file string) error {
	info := transport.TLSInfo{TrustedCAFile: ca, CertFile: cert, KeyFile: key}
	tls, err := info.ClientConfig()
	if err != nil {
		return err
	}
	config := clientv3.Config{Endpoints: []string{endpoint}, TLS: tls, DialTimeout: 10 * time.Second}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = client.SaveWithVersion(ctx, zap.NewNop(), config, file)
	return err
}
