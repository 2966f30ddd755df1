// Package rpctest shows and tests how package idempotent serves what is not an http.Handler: an
// interceptor for connect and one for gRPC, both built on idempotent.Do. They are short enough
// to be copied.
//
// It is a separate module so that the core does not depend on them.
package rpctest
