// Package rpctest has recipes for calls that are not HTTP requests: an interceptor for connect
// and one for gRPC. Both use idempotent.Do, and are short enough to copy, with protocol.go.
//
// It is a separate module, so that the core does not depend on connect and gRPC.
package rpctest
