//go:build apiserver_v0_32

package main

import (
	"time"

	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
)

// setNow replaces the clock by which write seeds expire; here all providers have the same.
func setNow(_ string, now func() time.Time) {
	kmsv2.NowFunc = now
}
