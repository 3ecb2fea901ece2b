//go:build !apiserver_v0_32

package main

import (
	"time"

	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
)

// setNow replaces the clock by which a provider's write seed expires, and no other.
func setNow(provider string, now func() time.Time) {
	kmsv2.SetNowFuncForTests(provider, now)
}
